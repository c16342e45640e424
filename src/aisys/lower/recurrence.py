"""The makespan of many pipelines of one shape, one numpy step per slot: no compiler, equal to every engine."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aisys.lower.pipeline import slots

Ints = NDArray[np.int64]
SECONDS_PER_SLOT = 5e-6
"""What one slot costs here, whatever the number of plans. Source: measured, one Xeon core."""


def makespans(
    shape: tuple[str, int, int, int], forward_ps: Ints, backward_ps: Ints, send_ps: Ints, tails_ps: tuple[Ints, Ints]
) -> Ints:
    """Makespan of each plan, array [plans], as `sim.run(pipeline.program(times))` gives it.

    shape: schedule, stages, microbatches, chunks. forward_ps, backward_ps, send_ps: arrays [plans, virtual stages].
    tails_ps (gradients, optimizer): arrays [plans, stages].
    """
    name, p, m, v = shape
    plans, last = len(forward_ps), p * v - 1
    duration, send = (forward_ps.T.copy(), backward_ps.T.copy()), send_ps.T.copy()
    arrived = [[np.zeros((m, plans), np.int64) for _ in range(p * v)] for _ in range(2)]
    free = [np.zeros(plans, np.int64) for _ in range(p)]
    link = [[np.zeros(plans, np.int64) for _ in range(p)] for _ in range(2)]
    for stage, back, virtual, part in _order(name, p, m, v):
        end = np.maximum(free[stage], arrived[back][virtual][part])
        end += duration[back][virtual]
        free[stage] = end
        if not back and virtual == last:
            arrived[1][last][part] = end
        elif not back or virtual:
            lane = link[back]
            lane[stage] = np.maximum(lane[stage], end) + send[virtual]
            arrived[back][virtual - 1 if back else virtual + 1][part] = lane[stage]
    gradients, optimizer = tails_ps
    ready = (np.array(free).T + gradients).max(axis=1)
    out: Ints = ready + optimizer.max(axis=1)
    return out


@lru_cache(maxsize=512)
def _order(name: str, p: int, m: int, v: int) -> list[tuple[int, int, int, int]]:
    """Every slot after all that it waits for: (stage, is_backward, virtual stage, microbatch)."""
    table = slots(name, p, m, v).tolist()
    done = [[bytearray(m) for _ in range(p * v)] for _ in range(2)]
    head = [0] * p
    out: list[tuple[int, int, int, int]] = []
    while len(out) < p * len(table[0]):
        for stage in range(p):
            while head[stage] < len(table[stage]):
                back, chunk, part = table[stage][head[stage]]
                virtual = chunk * p + stage
                if back and not done[0 if virtual == p * v - 1 else 1][min(virtual + 1, p * v - 1)][part]:
                    break
                if not back and virtual and not done[0][virtual - 1][part]:
                    break
                done[back][virtual][part] = 1
                head[stage] += 1
                out.append((stage, back, virtual, part))
    return out
