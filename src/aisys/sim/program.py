"""What an engine runs, and what it gives back: structs of arrays in integer picoseconds."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from aisys.errors import BadInput

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Program:
    """Tasks; each resource serves its tasks in the order of their rows.

    duration_ps, resource: arrays [tasks]. after: the tasks that must end before task i starts are
    after[after_ptr[i]:after_ptr[i + 1]]. alloc_bytes is taken when a task starts, free_bytes returned when it ends,
    both on the memory of `device` [tasks]. kind: index into `kinds`; part: free index (microbatch) for labels.
    """

    duration_ps: Ints
    resource: Ints
    after_ptr: Ints
    after: Ints
    device: Ints
    alloc_bytes: Ints
    free_bytes: Ints
    kind: Ints
    part: Ints
    kinds: tuple[str, ...]
    resources: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.duration_ps) and int(self.duration_ps.min()) < 0:
            raise BadInput("program: a task has a negative duration")
        if len(self.after) and int(self.after.max()) >= len(self.duration_ps):
            raise BadInput(f"program: a task waits for task {int(self.after.max())}, which does not exist")

    def __len__(self) -> int:
        return len(self.duration_ps)

    def label(self, task: int) -> str:
        """`kind part`, as timelines print it."""
        return f"{self.kinds[self.kind[task]]} {self.part[task]}"

    @cached_property
    def digest(self) -> str:
        """Content hash of every array."""
        state = sha256("|".join((*self.kinds, *self.resources)).encode())
        for array in (self.duration_ps, self.resource, self.after_ptr, self.after, self.alloc_bytes, self.free_bytes):
            state.update(np.ascontiguousarray(array).tobytes())
        return state.hexdigest()[:16]


@dataclass(frozen=True, eq=False, kw_only=True)
class Timeline:
    """When each task of `program` ran: start_ps, end_ps, arrays [tasks]."""

    program: Program
    start_ps: Ints
    end_ps: Ints

    @property
    def makespan_ps(self) -> int:
        """From time 0 to the end of the last task."""
        return int(self.end_ps.max()) if len(self.end_ps) else 0

    def busy_ps(self) -> Ints:
        """Time that each resource works, array [resources]."""
        out = np.zeros(len(self.program.resources), dtype=np.int64)
        np.add.at(out, self.program.resource, self.end_ps - self.start_ps)
        return out

    def peak_bytes(self, num_devices: int) -> Ints:
        """Highest allocation on each device's memory, array [devices]; at one instant frees come before allocations."""
        out = np.zeros(num_devices, dtype=np.int64)
        p = self.program
        for device in range(num_devices):
            rows = p.device == device
            times = np.concatenate([self.start_ps[rows], self.end_ps[rows]])
            change = np.concatenate([p.alloc_bytes[rows], -p.free_bytes[rows]])
            order = np.lexsort((change, times))
            out[device] = max(0, int(np.cumsum(change[order]).max(initial=0)))
        return out

    def critical_path(self) -> list[int]:
        """Tasks that determine the makespan, in order: each starts when the one before it ends."""
        p = self.program
        path: list[int] = []
        if not len(p):
            return path
        task: int | None = int(self.end_ps.argmax())
        while task is not None:
            path.append(task)
            task = self._cause(task)
        return path[::-1]

    def _cause(self, task: int) -> int | None:
        """A task that ends when `task` starts and that it waits for; None where it starts at time 0."""
        p, start = self.program, self.start_ps[task]
        if start == 0:
            return None
        waits = p.after[p.after_ptr[task] : p.after_ptr[task + 1]].tolist()
        candidates = (b for b in (*waits, int(self._previous[task])) if b >= 0 and self.end_ps[b] == start)
        return next(candidates, None)

    @cached_property
    def _previous(self) -> Ints:
        """The task that each task's resource serves before it, -1 for its first one."""
        order = np.argsort(self.program.resource, kind="stable")
        out = np.full(len(order), -1, np.int64)
        is_same = self.program.resource[order][1:] == self.program.resource[order][:-1]
        out[order[1:][is_same]] = order[:-1][is_same]
        return out
