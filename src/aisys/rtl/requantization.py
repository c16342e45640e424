"""Requantization in numpy, bit for bit what the circuit does."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.errors import BadInput

Ints = NDArray[np.int64]
MOST_MULTIPLIER, MOST_SHIFT = 2**16 - 1, 47


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Requantization:
    """int8 = limit(floor((sum + bias) * multiplier / 2^shift + 1/2)); arrays [n], one entry per output channel.

    bias: int32. multiplier: 0 to 65535. shift: 0 to 47. is_relu limits to 0 .. 127 instead of -128 .. 127.
    Raises BadInput for values out of range.
    """

    bias: Ints
    multiplier: Ints
    shift: Ints
    is_relu: bool = False

    def __post_init__(self) -> None:
        limits = (("bias", -(2**31), 2**31 - 1), ("multiplier", 0, MOST_MULTIPLIER), ("shift", 0, MOST_SHIFT))
        for name, least, most in limits:
            values = np.asarray(getattr(self, name))
            if values.shape != np.shape(self.bias) or values.ndim != 1:
                raise BadInput(f"{name} has shape {values.shape}; give one value per output channel")
            if values.dtype.kind not in "iu" or (values < least).any() or (values > most).any():
                raise BadInput(f"{name} must be whole numbers from {least} to {most}")

    def __len__(self) -> int:
        return len(self.bias)

    def apply(self, sums: NDArray[Any]) -> NDArray[np.int8]:
        """int8 [m, n] of int32 sums [m, n]; sum + bias wraps at 32 bits, as it does in the circuit."""
        biased = (np.asarray(sums, np.int64) + self.bias).astype(np.int32).astype(np.int64)
        scaled = biased * self.multiplier
        half = np.where(self.shift > 0, np.int64(1) << np.maximum(self.shift - 1, 0), 0)
        least = 0 if self.is_relu else -128
        rounded: NDArray[np.int64] = (scaled + half) >> self.shift
        return np.clip(rounded, least, 127).astype(np.int8)


def no_requantization(num_channels: int) -> Requantization:
    """Parameters that change nothing, for int32 results."""
    zeros = np.zeros(num_channels, np.int64)
    return Requantization(bias=zeros, multiplier=zeros + 1, shift=zeros)


def scale_to_fixed_point(scale: float) -> tuple[int, int]:
    """The multiplier and shift nearest to a positive `scale`: multiplier / 2^shift, 16 significant bits.

    >>> scale_to_fixed_point(0.0117)
    (49073, 22)
    """
    if not 2.0**-47 <= scale <= MOST_MULTIPLIER:
        raise BadInput(f"scale {scale:g} cannot be a multiplier and shift; give one from 2^-47 to {MOST_MULTIPLIER}")
    shift = MOST_SHIFT
    while round(scale * 2**shift) > MOST_MULTIPLIER:
        shift -= 1
    return round(scale * 2**shift), shift
