"""The makespan of many pipelines of one shape, without building their programs. Equal to the engines, exactly."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def makespans(
    slots: Ints, forward_ps: Ints, backward_ps: Ints, sends_ps: tuple[Ints, Ints], tails_ps: tuple[Ints, Ints]
) -> Ints:
    """Makespan of each of many plans, array [plans], as `sim.run(pipeline.program(times))` gives it.

    slots: array [stages, slots, 3] of `pipeline.slots`. forward_ps, backward_ps and sends_ps (forward, backward):
    arrays [plans, virtual stages]. tails_ps (gradients, optimizer): arrays [plans, stages].
    """
    num_microbatches = int(slots[:, :, 2].max()) + 1
    arrays = (forward_ps, backward_ps, *sends_ps, *tails_ps)
    return _sweep(np.ascontiguousarray(slots), num_microbatches, *(np.ascontiguousarray(a, np.int64) for a in arrays))


@njit(cache=True)
def _sweep(
    slots: Ints, num_microbatches: int, forward: Ints, backward: Ints, send_forward: Ints, send_backward: Ints,
    gradients: Ints, optimizer: Ints,
) -> Ints:  # pragma: no cover  # fmt: skip
    plans, num_virtual = forward.shape
    p, num_slots = slots.shape[0], slots.shape[1]
    out = np.zeros(plans, np.int64)
    arrived = np.empty((2, num_virtual, num_microbatches), np.int64)
    head, free = np.empty(p, np.int64), np.empty(p, np.int64)
    link = np.empty((2, p), np.int64)
    for plan in range(plans):
        arrived[:] = -1
        arrived[0, 0, :] = 0
        head[:] = 0
        free[:] = 0
        link[:] = 0
        left = p * num_slots
        while left:
            before = left
            for s in range(p):
                while head[s] < num_slots:
                    back, chunk, part = slots[s, head[s], 0], slots[s, head[s], 1], slots[s, head[s], 2]
                    virtual = chunk * p + s
                    ready = arrived[back, virtual, part]
                    if ready < 0:
                        break
                    end = max(free[s], ready) + (backward[plan, virtual] if back else forward[plan, virtual])
                    free[s] = end
                    head[s] += 1
                    left -= 1
                    target = virtual - 1 if back else virtual + 1
                    if not back and target == num_virtual:
                        arrived[1, virtual, part] = end
                    elif target >= 0:
                        send = send_backward[plan, virtual] if back else send_forward[plan, virtual]
                        link[back, s] = max(link[back, s], end) + send
                        arrived[back, target, part] = link[back, s]
            if left == before:
                break
        ready_all = 0
        for s in range(p):
            ready_all = max(ready_all, free[s] + gradients[plan, s])
        slowest = 0
        for s in range(p):
            slowest = max(slowest, optimizer[plan, s])
        out[plan] = ready_all + slowest if left == 0 else -1
    return out
