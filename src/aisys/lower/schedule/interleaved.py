"""Interleaved 1F1B: each device holds several chunks of layers, which shortens the bubble by their number."""

import numpy as np

from aisys.errors import CannotApply
from aisys.lower.schedule import Slots
from aisys.lower.schedule.one_f_one_b import in_turn


def order(stage: int, num_stages: int, num_microbatches: int, interleave: int) -> Slots:
    """Microbatches in groups of num_stages, chunk after chunk, in both directions.

    Source: Narayanan et al. 2021, section 2.2. Raises CannotApply where microbatches do not divide into groups.
    """
    if num_microbatches % num_stages:
        raise CannotApply(
            f"interleaved schedule: {num_microbatches} microbatches are not a multiple of {num_stages} stages; "
            f"use {-(-num_microbatches // num_stages) * num_stages} microbatches or interleave=1"
        )
    total = num_microbatches * interleave
    warmup = min((num_stages - stage - 1) * 2 + (interleave - 1) * num_stages, total)
    numbers = np.arange(total)
    return in_turn(numbers, numbers, warmup, interleave, num_stages)
