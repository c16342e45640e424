"""The makespan of many pipelines of one shape, without building their programs. Equal to the engines, exactly."""

from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aisys.lower.pipeline import slots

Ints = NDArray[np.int64]
LANES = 8
"""Plans that walk along a schedule side by side, so that each step is one vector instruction over all of them."""


def makespans(
    shape: tuple[str, int, int, int], forward_ps: Ints, backward_ps: Ints, send_ps: Ints, tails_ps: tuple[Ints, Ints]
) -> Ints:
    """Makespan of each of many plans, array [plans], as `sim.run(pipeline.program(times))` gives it.

    shape: schedule, stages, microbatches, chunks. forward_ps, backward_ps, send_ps: arrays [plans, virtual stages].
    tails_ps (gradients, optimizer): arrays [plans, stages].
    """
    order = _order(*shape)
    assert len(order), f"schedule {shape[0]} waits for itself"
    plans = len(forward_ps)
    padded = -(-plans // LANES) * LANES
    duration = np.zeros((padded // LANES, 3, forward_ps.shape[1], LANES), np.int64)
    for kind, values in enumerate((forward_ps, backward_ps, send_ps)):
        whole = np.zeros((padded, values.shape[1]), np.int64)
        whole[:plans] = values
        duration[:, kind] = whole.reshape(-1, LANES, values.shape[1]).swapaxes(1, 2)
    ends = _sweep(order, shape[1], duration).swapaxes(1, 2).reshape(padded, shape[1])[:plans]
    gradients, optimizer = tails_ps
    out: Ints = (ends + gradients).max(axis=1) + optimizer.max(axis=1)
    return out


@lru_cache(maxsize=512)
def _order(name: str, num_stages: int, num_microbatches: int, interleave: int) -> Ints:
    """Every slot after all that it waits for, array [slots, 5]: stage, is_backward, virtual stage, microbatch, and
    where its output arrives: forward of virtual stage t counts t, backward num_virtual + t, nowhere -1.
    """
    return _sorted(np.ascontiguousarray(slots(name, num_stages, num_microbatches, interleave)), num_microbatches)


@njit(cache=True)
def _sorted(table: Ints, num_microbatches: int) -> Ints:  # pragma: no cover
    p, num_slots = table.shape[0], table.shape[1]
    num_virtual = p * (num_slots // (2 * num_microbatches))
    arrived = np.zeros((2 * num_virtual, num_microbatches), np.bool_)
    arrived[0] = True
    head = np.zeros(p, np.int64)
    out = np.empty((p * num_slots, 5), np.int64)
    filled = 0
    while filled < p * num_slots:
        before = filled
        for s in range(p):
            while head[s] < num_slots:
                back, chunk, part = table[s, head[s], 0], table[s, head[s], 1], table[s, head[s], 2]
                virtual = chunk * p + s
                if not arrived[back * num_virtual + virtual, part]:
                    break
                if back:
                    target = num_virtual + virtual - 1 if virtual > 0 else -1
                else:
                    target = virtual + 1 if virtual < num_virtual - 1 else num_virtual + virtual
                if target >= 0:
                    arrived[target, part] = True
                out[filled] = (s, back, virtual, part, target)
                head[s] += 1
                filled += 1
        if filled == before:
            return out[:0]
    return out


@njit(cache=True)
def _sweep(order: Ints, num_stages: int, duration: Ints) -> Ints:  # pragma: no cover
    groups, num_virtual = duration.shape[0], duration.shape[2]
    num_microbatches = order[:, 3].max() + 1
    out = np.empty((groups, num_stages, LANES), np.int64)
    arrived = np.zeros((2 * num_virtual, num_microbatches, LANES), np.int64)
    link = np.empty((2, num_stages, LANES), np.int64)
    for group in range(groups):
        free = out[group]
        free[:] = 0
        link[:] = 0
        for i in range(len(order)):
            s, back, virtual, part, target = order[i, 0], order[i, 1], order[i, 2], order[i, 3], order[i, 4]
            ready = arrived[back * num_virtual + virtual, part]
            busy = duration[group, back, virtual]
            own = free[s]
            for lane in range(LANES):
                own[lane] = max(own[lane], ready[lane]) + busy[lane]
            if target < 0:
                continue
            given = arrived[target, part]
            if target == num_virtual + virtual:
                for lane in range(LANES):
                    given[lane] = own[lane]
            else:
                wire, wait = link[back, s], duration[group, 2, virtual]
                for lane in range(LANES):
                    wire[lane] = max(wire[lane], own[lane]) + wait[lane]
                    given[lane] = wire[lane]
    return out
