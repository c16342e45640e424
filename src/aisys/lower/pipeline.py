"""A pipeline-parallel training step as a program: forwards, backwards, sends, then gradients and optimizer."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aisys.lower.schedule import Slots, schedule
from aisys.sim import Program

Ints = NDArray[np.int64]
KINDS = ("forward", "backward", "send activation", "send gradient", "reduce gradients", "optimizer")


@dataclass(frozen=True, eq=False, kw_only=True)
class PipelineTimes:
    """Durations and bytes of one step. Virtual stage c * num_stages + s is chunk c on stage s.

    forward_ps, backward_ps, send_forward_ps, send_backward_ps, saved_bytes: arrays [virtual stages]; a send leaves
    the virtual stage it is listed under. gradients_ps, optimizer_ps: arrays [stages]. No stage starts its optimizer
    before every stage has its gradients (the global gradient norm).
    """

    num_stages: int
    num_microbatches: int
    schedule: str
    forward_ps: Ints
    backward_ps: Ints
    send_forward_ps: Ints
    send_backward_ps: Ints
    saved_bytes: Ints
    gradients_ps: Ints
    optimizer_ps: Ints

    @property
    def interleave(self) -> int:
        return len(self.forward_ps) // self.num_stages


@lru_cache(maxsize=512)
def slots(name: str, num_stages: int, num_microbatches: int, interleave: int) -> Slots:
    """The slots of every stage, array [stages, slots, 3]: is_backward, chunk, microbatch."""
    order = schedule(name, interleave)
    return np.stack([order(s, num_stages, num_microbatches, interleave) for s in range(num_stages)])


def program(times: PipelineTimes, table: Slots | None = None) -> Program:
    """The step as tasks: resource s computes stage s; resources p + s and 2p + s carry its sends.

    table: the slots of every stage as `slots` gives them; None takes those of the schedule that `times` names.
    """
    p, m, v = times.num_stages, times.num_microbatches, times.interleave
    table = slots(times.schedule, p, m, v) if table is None else table
    num_slots = table.shape[1]
    stage = np.repeat(np.arange(p), num_slots)
    is_backward, chunk, part = table.reshape(-1, 3).T
    virtual = chunk * p + stage
    task = np.arange(p * num_slots)
    compute_of = np.empty((2, p * v, m), np.int64)
    compute_of[is_backward, virtual, part] = task
    sends = np.flatnonzero(np.where(is_backward == 0, virtual < p * v - 1, virtual > 0))
    send_of = np.full((2, p * v, m), -1, np.int64)
    send_of[is_backward[sends], virtual[sends], part[sends]] = len(task) + np.arange(len(sends))
    waits_for = np.where(
        is_backward == 0,
        np.where(virtual > 0, send_of[0, virtual - 1, part], -1),
        np.where(
            virtual < p * v - 1, send_of[1, np.minimum(virtual + 1, p * v - 1), part], compute_of[0, virtual, part]
        ),
    )
    durations = np.where(is_backward == 0, times.forward_ps[virtual], times.backward_ps[virtual])
    send_time = np.where(is_backward == 0, times.send_forward_ps[virtual], times.send_backward_ps[virtual])[sends]
    saved = times.saved_bytes[virtual]
    last = task.reshape(p, num_slots)[:, -1]
    first_tail = len(task) + len(sends)
    reduce_ids = first_tail + np.arange(p)
    after = [*waits_for[waits_for >= 0], *sends, *last, *np.tile(reduce_ids, p)]
    num_after = [*(waits_for >= 0), *np.ones(len(sends) + p, np.int64), *np.full(p, p)]
    zeros = np.zeros(len(sends) + 2 * p, np.int64)
    return Program(
        duration_ps=np.concatenate([durations, send_time, times.gradients_ps, times.optimizer_ps]).astype(np.int64),
        resource=np.concatenate([stage, (stage + p * (1 + is_backward))[sends], np.arange(p), np.arange(p)]),
        after_ptr=np.concatenate([[0], np.cumsum(np.array(num_after, np.int64))]),
        after=np.array(after, np.int64),
        device=np.concatenate([stage, stage[sends], np.arange(p), np.arange(p)]),
        alloc_bytes=np.concatenate([np.where(is_backward == 0, saved, 0), zeros]),
        free_bytes=np.concatenate([np.where(is_backward == 1, saved, 0), zeros]),
        kind=np.concatenate([is_backward, is_backward[sends] + 2, np.full(p, 4), np.full(p, 5)]),
        part=np.concatenate([part, part[sends], np.zeros(2 * p, np.int64)]),
        kinds=KINDS,
        resources=tuple(f"{what} {s}" for what in ("stage", "send forward", "send backward") for s in range(p)),
    )
