"""Integers with a shared scale per group: packing real arrays, bit by bit, and unpacking them again."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.errors import BadInput, CannotApply
from aisys.ir.dtype import DType, grouped_integer

SCALE_BITS = 16
"""Scales are fp16. Source: Frantar et al. 2023 (GPTQ) and the checkpoints that followed it."""
_LARGEST_FP16 = float(np.finfo(np.float16).max)


def format_of(bits: int, group: int, is_symmetric: bool) -> DType:
    """The number format that `pack` stores: a scale per group, and with is_symmetric False a zero point of `bits`."""
    return grouped_integer(bits, group, SCALE_BITS, 0 if is_symmetric else bits)


def check_fits(name: str, axis: str, extent: int, num_rows: int, dtype: DType) -> None:
    """Raises CannotApply where `num_rows` rows of `extent` elements fill no whole number of groups or bytes."""
    if extent % dtype.group:
        raise CannotApply(
            f"axis {axis!r} of {name!r} has extent {extent}, not a multiple of group={dtype.group}; "
            f"choose a group that divides {extent}"
        )
    num_groups = num_rows * (extent // dtype.group)
    for what, bits in (("codes", num_rows * extent * dtype.bits), ("zero points", num_groups * dtype.zero_point_bits)):
        if bits % 8:
            raise CannotApply(f"the {what} of {name!r} take {bits} bits, no whole number of bytes; use 8 bits")


@dataclass(frozen=True, eq=False)
class Packed:
    """An array as stored: `codes` and `zero_points` are packed bits, `scales` one fp16 per group of the last axis."""

    dtype: DType
    shape: tuple[int, ...]
    codes: NDArray[np.uint8]
    scales: NDArray[np.float16]
    zero_points: NDArray[np.uint8]

    @property
    def num_bytes(self) -> int:
        """Bytes that are really held."""
        return self.codes.nbytes + self.scales.nbytes + self.zero_points.nbytes

    @property
    def steps(self) -> NDArray[np.float32]:
        """The distance between neighbouring values, per element, in the shape of the array."""
        return np.repeat(self.scales.astype(np.float32), self.dtype.group, axis=-1).reshape(self.shape)

    def unpack(self) -> NDArray[np.float32]:
        """The values that the stored integers stand for."""
        bits = self.dtype.bits
        codes = _from_bits(self.codes, bits, prod(self.shape)).reshape(-1, self.dtype.group).astype(np.int32)
        if self.zero_points.size:
            zero = _from_bits(self.zero_points, bits, self.scales.size).astype(np.int32)[:, None]
        else:
            zero = np.full((1, 1), 2 ** (bits - 1), np.int32)
        return ((codes - zero).astype(np.float32) * self.scales.reshape(-1, 1).astype(np.float32)).reshape(self.shape)


def pack(name: str, array: NDArray[Any], *, bits: int, group: int, is_symmetric: bool) -> Packed:
    """`array` rounded to the nearest of the values that each group of its last axis can hold.

    Every value moves by half a step at most: scales are rounded up to fp16, and the range of a group holds zero.
    group 0: the whole last axis. Raises CannotApply where groups do not divide, BadInput for values out of range.
    """
    weights = np.atleast_1d(np.asarray(array, dtype=np.float32))
    extent = weights.shape[-1]
    dtype = format_of(bits, group or extent, is_symmetric)
    check_fits(name, "last", extent, weights.size // extent, dtype)
    if not np.isfinite(weights).all() or float(np.abs(weights).max()) > _LARGEST_FP16:
        raise BadInput(f"{name!r} holds values that are not finite, or beyond the {_LARGEST_FP16:g} of an fp16 scale")
    grouped = weights.reshape(-1, dtype.group)
    low, high = np.minimum(grouped.min(1), 0), np.maximum(grouped.max(1), 0)
    if is_symmetric:
        scales = _scale(np.maximum(-low, high) / (2 ** (bits - 1) - 1))
        zero = np.full(len(grouped), 2 ** (bits - 1), np.int32)
    else:
        scales = _scale((high - low) / (2**bits - 1))
        zero = np.rint(-low / scales.astype(np.float32)).astype(np.int32)
    codes = np.rint(grouped / scales.astype(np.float32)[:, None]).astype(np.int32) + zero[:, None]
    codes = np.clip(codes, 1 if is_symmetric else 0, 2**bits - 1)
    return Packed(
        dtype=dtype, shape=weights.shape, codes=_to_bits(codes, bits),
        scales=scales.reshape(*weights.shape[:-1], -1),
        zero_points=np.zeros(0, np.uint8) if is_symmetric else _to_bits(zero, bits),
    )  # fmt: skip


def _scale(exact: NDArray[np.float32]) -> NDArray[np.float16]:
    """The smallest fp16 that is not below `exact`, and above zero."""
    near = exact.astype(np.float16)
    above = np.where(near < exact, np.nextafter(near, np.float16(np.inf)), near)
    return np.maximum(above, np.finfo(np.float16).smallest_subnormal)


def _to_bits(values: NDArray[np.int32], bits: int) -> NDArray[np.uint8]:
    single = np.unpackbits(values.astype(np.uint8).reshape(-1, 1), axis=1)[:, 8 - bits :]
    return np.packbits(single)


def _from_bits(packed: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint8]:
    single = np.unpackbits(packed, count=count * bits).reshape(count, bits)
    return np.packbits(np.pad(single, ((0, 0), (8 - bits, 0))), axis=1)[:, 0]
