"""GPipe: all forwards, then all backwards."""

import numpy as np

from aisys.lower.schedule import Slots


def order(stage: int, num_stages: int, num_microbatches: int, interleave: int) -> Slots:
    """Forward of every microbatch, then backward in reverse order. Source: Huang et al. 2019."""
    chunks, parts = np.divmod(np.arange(num_microbatches * interleave), num_microbatches)
    forward = np.stack([np.zeros_like(parts), chunks, parts], axis=1)
    backward = forward[::-1].copy()
    backward[:, 0] = 1
    return np.concatenate([forward, backward])
