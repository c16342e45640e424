"""Number formats."""

from dataclasses import dataclass

from aisys.errors import unknown_name


@dataclass(frozen=True, slots=True)
class DType:
    """A number format; each `group` of elements shares one scale and one zero point (group 0: one for the tensor)."""

    name: str
    bits: int
    group: int = 0
    scale_bits: int = 0
    zero_point_bits: int = 0
    is_float: bool = True

    @property
    def bits_per_element(self) -> float:
        """Stored bits per element with the group's share of scale and zero point."""
        shared = self.scale_bits + self.zero_point_bits
        return self.bits + (shared / self.group if self.group else 0.0)

    @property
    def bytes_per_element(self) -> float:
        """`bits_per_element` in bytes."""
        return self.bits_per_element / 8


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


def dtype(name: str) -> DType:
    """The number format called `name`. Raises UnknownName with the nearest names."""
    if name not in DTYPES:
        raise unknown_name("dtype", name, DTYPES)
    return DTYPES[name]
