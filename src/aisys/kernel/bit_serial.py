"""Dot products on bit-serial multipliers, most significant bit first, that stop once their ReLU is known to be zero.

A weight is held in inverted two's complement: `w = 2^(bits-1) b[bits-1] - sum of 2^i b[i]`, so that only the first
digit adds. With inputs that are not negative, every later cycle can only lower the sum: below zero it stays there.
Source: Kim et al. 2022, "ComPreEND: Computation Pruning through Predictive Early Negative Detection", IEEE TC.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aisys.errors import BadInput

Ints = NDArray[np.int32]
LARGEST_SUM = 2**31 - 1
LANES = 16
"""Products of one output per cycle. assumed: the abstract does not say."""


@dataclass(frozen=True, eq=False)
class DotProducts:
    """One entry per output, axes (rows of inputs, rows of weights).

    sums: exact where `is_stopped` is False, and the partial sum at which it stopped elsewhere. cycles: how many ran.
    num_full_cycles: of one output that does not stop.
    """

    sums: Ints
    cycles: Ints
    is_stopped: NDArray[np.bool_]
    num_full_cycles: int

    @property
    def relu(self) -> Ints:
        """What the next layer sees: zero where it stopped."""
        return np.where(self.is_stopped, 0, np.maximum(self.sums, 0))


def digits(weights: NDArray[Any], bits: int = 8) -> NDArray[np.uint8]:
    """Inverted two's complement digits of each weight on a new first axis, the most significant first.

    Raises BadInput for a weight outside 1 - 2^(bits-1) to 2^(bits-1).

    >>> digits(np.array([3, -3]), bits=4).T.tolist()
    [[1, 1, 0, 1], [0, 0, 1, 1]]
    """
    high = 2 ** (bits - 1)
    if weights.size and (weights.min() <= -high or weights.max() > high):
        raise BadInput(
            f"bit_serial: weights from {weights.min()} to {weights.max()}; {bits} bits hold {1 - high} to {high}"
        )
    negated = -weights.astype(np.int64)
    return np.stack([(negated >> i & 1).astype(np.uint8) for i in range(bits - 1, -1, -1)])


def run(
    inputs: NDArray[Any], weights: NDArray[Any], bias: NDArray[Any], *,
    threshold: float | NDArray[Any] = 0.0, lanes: int = LANES,
) -> DotProducts:  # fmt: skip
    """`inputs @ weights.T + bias` bit by bit, stopping an output once its sum is below `threshold`.

    inputs: (m, k), integers that are not negative. weights: (n, k), int8. bias: (n,), where each sum starts.
    threshold 0: accurate mode, whose `relu` is exact. Above 0: predictive mode. -inf: never stops, the plain layer. One
    for all, or one per row of weights.
    An output takes ceil(k / lanes) cycles per bit; its sign is read after each, once the first bit is done.
    Raises BadInput for negative inputs, extents that differ, or sums that 32 bits may not hold.
    """
    _check(inputs, weights, bias, lanes)
    planes = np.ascontiguousarray(digits(weights).transpose(1, 0, 2))
    num_full = 8 * -(-weights.shape[1] // lanes)
    shape = (len(inputs), len(weights))
    out = np.empty(shape, np.int32), np.empty(shape, np.int32), np.zeros(shape, np.bool_)
    limits = np.broadcast_to(np.asarray(threshold, np.float64), bias.shape)
    _run(np.ascontiguousarray(inputs, np.int32), planes, bias.astype(np.int32), (limits, lanes), out)
    return DotProducts(*out, num_full_cycles=num_full)


def _check(inputs: NDArray[Any], weights: NDArray[Any], bias: NDArray[Any], lanes: int) -> None:
    if inputs.ndim != 2 or weights.ndim != 2 or inputs.shape[1] != weights.shape[1] or bias.shape != weights.shape[:1]:
        raise BadInput(
            f"bit_serial: inputs {inputs.shape}, weights {weights.shape}, bias {bias.shape}; give (m, k), (n, k), (n,)"
        )
    if not weights.shape[1] or lanes < 1:
        raise BadInput(f"bit_serial: {weights.shape[1]} products on {lanes} lanes; both are at least 1")
    if inputs.size and inputs.min() < 0:
        raise BadInput(f"bit_serial: an input is {inputs.min()}; only sums of inputs >= 0 never rise again")
    largest = (int(inputs.max()) if inputs.size else 0) * 128 * weights.shape[1] + int(np.abs(bias).max(initial=0))
    if largest > LARGEST_SUM:
        raise BadInput(f"bit_serial: sums may reach {largest}, above the {LARGEST_SUM} of 32 bits; use smaller inputs")


@njit(cache=True)
def _run(
    inputs: Ints, planes: NDArray[np.uint8], bias: Ints, how: tuple[NDArray[np.float64], int],
    out: tuple[Ints, Ints, NDArray[np.bool_]],
) -> None:  # pragma: no cover  # fmt: skip
    """planes: (n, bits, k). how: thresholds and lanes. Fills sums, cycles and is_stopped."""
    limits, lanes = how
    sums, cycles, stopped = out
    (num_outputs, num_bits, extent) = planes.shape
    chunks = (extent + lanes - 1) // lanes
    for row in range(len(inputs)):
        for output in range(num_outputs):
            total, ran, done = bias[output], 0, False
            for bit in range(num_bits):
                for chunk in range(chunks):
                    part = 0
                    for i in range(chunk * lanes, min(extent, (chunk + 1) * lanes)):
                        part += inputs[row, i] * planes[output, bit, i]
                    part <<= num_bits - 1 - bit
                    total += part if bit == 0 else -part
                    ran += 1
                    is_first = bit == 0 and chunk < chunks - 1
                    if not is_first and ran < num_bits * chunks and total < limits[output]:
                        done = True
                        break
                if done:
                    break
            sums[row, output], cycles[row, output], stopped[row, output] = total, ran, done
