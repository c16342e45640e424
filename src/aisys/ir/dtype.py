"""Number formats."""

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from aisys.errors import unknown_name
from aisys.ir.density import DENSE, Density, NOfM


@dataclass(frozen=True, slots=True)
class DType:
    """A number format; each `group` of elements shares one scale and one zero point (group 0: one for the tensor).

    kept, of: of every `of` elements `kept` are stored, each with its place among them; the others are zero.
    """

    name: str
    bits: int
    group: int = 0
    scale_bits: int = 0
    zero_point_bits: int = 0
    is_float: bool = True
    kept: int = 1
    of: int = 1

    @property
    def density(self) -> Density:
        """Where elements are zero by the format itself."""
        return NOfM(self.kept, self.of) if self.of > 1 else DENSE

    @property
    def _place_bits(self) -> int:
        return (self.of - 1).bit_length()

    @property
    def family(self) -> str:
        """The format without its grouping: what a kernel is made for.

        >>> dtype("int4_g64_s16").family, dtype("fp8_block").family
        ('int4', 'fp8_block')
        """
        base, ending = split_density(self.name)
        return f"int{self.bits}{ending}" if _GROUPED.fullmatch(base) else self.name

    @property
    def bits_per_element(self) -> float:
        """Stored bits per element with the group's share of scale and zero point."""
        shared = self.scale_bits + self.zero_point_bits
        return (self.bits + self._place_bits) * self.kept / self.of + (shared / self.group if self.group else 0.0)

    @property
    def bytes_per_element(self) -> float:
        """`bits_per_element` in bytes."""
        return self.bits_per_element / 8

    def num_bytes(self, num_elements: int) -> float:
        """Stored bytes of so many elements; exact where they fill whole groups.

        >>> dtype("int8_g48_s16").num_bytes(1920)
        2000.0
        """
        shared = (self.scale_bits + self.zero_point_bits) * num_elements / self.group if self.group else 0.0
        values = (self.bits + self._place_bits) * num_elements * self.kept / self.of
        return (values + shared) / 8


DTYPES = {
    d.name: d
    for d in (
        DType("fp64", 64),
        DType("fp32", 32),
        DType("tf32", 32),
        DType("bf16", 16),
        DType("fp16", 16),
        DType("fp8", 8),
        DType("fp8_block", 8, group=128 * 128, scale_bits=32),
        DType("nvfp4", 4, group=16, scale_bits=8),
        DType("mxfp4", 4, group=32, scale_bits=8),
        DType("int64", 64, is_float=False),
        DType("int32", 32, is_float=False),
        DType("int8", 8, is_float=False),
        DType("int4", 4, group=128, scale_bits=16, is_float=False),
        DType("mask8", 8, is_float=False),
    )
}
"""Formats by name. Group sizes: DeepSeek-V3 report 2024 (fp8_block: 128x128 weight blocks), NVIDIA Blackwell
(nvfp4: 16 elements), OCP microscaling 1.0 (mxfp4: 32 elements), Frantar et al. 2023 (int4: 128)."""

TWO_OF_FOUR = "_2of4"
"""Ends the name of a format that leaves out two of every four products along k. Source: Mishra et al. 2021."""

_GROUPED = re.compile(r"int([1-8])_g([1-9][0-9]{0,9})_s(8|16|32)(?:_z(16|[1-8]))?")
_N_OF_M = re.compile(r"(.{1,40})_([1-9][0-9]?)of([1-9][0-9]?)")


@lru_cache(maxsize=4096)
def dtype(name: str) -> DType:
    """The number format called `name`; `grouped_integer` explains names like int4_g64_s16. Raises UnknownName.

    A format with the ending _2of4 stores two of every four elements, and their places.

    >>> dtype("int4_g64_s16_z4").bits_per_element, dtype("fp16_2of4").bits_per_element
    (4.3125, 9.0)
    """
    if name in DTYPES:
        return DTYPES[name]
    if found := _N_OF_M.fullmatch(name):
        density = NOfM(int(found[2]), int(found[3]))
        return replace(dtype(found[1]), name=name, kept=density.n, of=density.m)
    parts = _GROUPED.fullmatch(name)
    if parts is None:
        raise unknown_name("dtype", name, DTYPES)
    return grouped_integer(*(int(x or 0) for x in parts.groups()))


def split_density(name: str) -> tuple[str, str]:
    """The name of the format without its N:M, and the ending that says it.

    >>> split_density("int8_2of4"), split_density("bf16")
    (('int8', '_2of4'), ('bf16', ''))
    """
    found = _N_OF_M.fullmatch(name)
    return (found[1], name[len(found[1]) :]) if found else (name, "")


def grouped_integer(bits: int, group: int, scale_bits: int = 16, zero_point_bits: int = 0) -> DType:
    """Integers that share a scale, and with zero_point_bits a zero point, per `group`; the name says all of it.

    >>> grouped_integer(8, 64).name, grouped_integer(4, 128).name
    ('int8_g64_s16', 'int4')
    """
    name = f"int{bits}_g{group}_s{scale_bits}" + (f"_z{zero_point_bits}" if zero_point_bits else "")
    made = DType(name, bits, group, scale_bits, zero_point_bits, is_float=False)
    return next((d for d in DTYPES.values() if replace(d, name=name) == made), made)
