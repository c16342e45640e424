"""One forward, one backward: at most num_stages - stage microbatches wait on a stage."""

import numpy as np

from aisys.errors import CannotApply
from aisys.lower.schedule import Slots


def order(stage: int, num_stages: int, num_microbatches: int, interleave: int) -> Slots:
    """Warm-up forwards, then forward and backward in turn.

    Source: Narayanan et al. 2019 (PipeDream-flush). Raises CannotApply for interleave above 1.
    """
    if interleave > 1:
        raise CannotApply(f"one_f_one_b schedule: a stage is one chunk, not {interleave}; use interleaved")
    warmup = min(num_stages - stage - 1, num_microbatches)
    return in_turn(np.arange(num_microbatches), np.arange(num_microbatches), warmup, 1, num_stages)


def in_turn(forward: Slots, backward: Slots, warmup: int, interleave: int, num_stages: int) -> Slots:
    """`warmup` forwards, then one forward and one backward in turn, then the remaining backwards.

    forward, backward: virtual microbatch numbers in the order that each direction runs them.
    """
    total = len(forward)
    steady = total - warmup
    is_backward = np.concatenate([np.zeros(warmup), np.tile([0, 1], steady), np.ones(warmup)]).astype(np.int64)
    slots = np.empty((2 * total, 3), np.int64)
    slots[:, 0] = is_backward
    for direction, numbers in ((0, forward), (1, backward)):
        rows = is_backward == direction
        group, within = np.divmod(numbers, num_stages * interleave)
        chunk = within // num_stages
        slots[rows, 1] = chunk if direction == 0 else interleave - 1 - chunk
        slots[rows, 2] = group * num_stages + within % num_stages if interleave > 1 else numbers
    if interleave == 1:
        slots[:, 1] = 0
    return slots
