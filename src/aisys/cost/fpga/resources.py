"""What a circuit takes of an FPGA: multipliers in DSP blocks and LUTs, and block memories."""

from dataclasses import dataclass
from math import ceil

from aisys.errors import Unsupported
from aisys.ir import dtype
from aisys.machine import Fpga

BLOCK_SHAPES = ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36))
"""Words and bits of one block memory of 18 kbit. Source: Lattice FPGA-TN-02204, 2021; AMD UG573, 2021: the same."""

CONTROL_LUTS, ROUTING_FACTOR = 300, 1.1
"""LUTs of a unit beside its arithmetic. Source: Blott et al. 2018 (FINN-R), fitted to synthesised units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """LUTs, DSP blocks and block memories of 18 kbit, needed or there."""

    luts: int
    dsps: int
    block_memories: int

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(
            luts=self.luts + other.luts, dsps=self.dsps + other.dsps,
            block_memories=self.block_memories + other.block_memories,
        )  # fmt: skip

    def fits(self, there: "Resources") -> bool:
        """Whether none of the three is short."""
        return (
            self.luts <= there.luts and self.dsps <= there.dsps and self.block_memories <= there.block_memories
        )  # fmt: skip

    def missing(self, there: "Resources") -> str:
        """What is short, in words: `2,048 DSP blocks (1,728 there)`."""
        said = (("LUTs", "luts"), ("DSP blocks", "dsps"), ("block memories", "block_memories"))
        short = [(name, getattr(self, field), getattr(there, field)) for name, field in said]
        return " and ".join(f"{need:,} {name} ({has:,} there)" for name, need, has in short if need > has)


def available(fpga: Fpga) -> Resources:
    """What a design may fill: all blocks, and the share of the LUTs that place and route can use."""
    return Resources(
        luts=int(fpga.num_luts * fpga.usable_lut_share), dsps=int(fpga.num_dsps),
        block_memories=int(fpga.num_block_memories),
    )  # fmt: skip


def product_format(fpga: Fpga, bits: int) -> str:
    """The narrowest format of `fpga` whose products hold operands of `bits`. Raises Unsupported where none does."""
    known = sorted(fpga.products_per_dsp, key=lambda name: dtype(name).bits)
    for name in known:
        if dtype(name).bits >= bits:
            return name
    raise Unsupported(f"{bits}-bit operands have no multiplier here; quantize to {known[-1]} or narrower")


def multipliers(fpga: Fpga, num_products: int, num_dsps: int, bits: int) -> Resources:
    """`num_products` multiplications per cycle in up to `num_dsps` blocks, packed; the rest in LUTs."""
    name = product_format(fpga, bits)
    packed = int(fpga.products_per_dsp[name])
    dsps = min(num_dsps, ceil(num_products / packed))
    rest = max(0, num_products - dsps * packed)
    return Resources(luts=ceil(rest * fpga.luts_per_product[name]), dsps=dsps, block_memories=0)


def sum_luts(num_inputs: int, num_outputs: int, bits: int, depth: int) -> int:
    """LUTs of the adder trees of `num_outputs` sums of `num_inputs` products, of their accumulators and control.

    bits: of both operands together. depth: how many products a sum holds at the end.
    Source: Blott et al. 2018 (FINN-R), section 5, without thresholds.
    """
    accumulator = bits + (depth - 1).bit_length()
    return ceil(CONTROL_LUTS + ROUTING_FACTOR * num_outputs * (bits * (2 * num_inputs - 1) + accumulator))


def block_memories(num_words: int, num_bits: int) -> int:
    """Block memories of 18 kbit that hold words of `num_bits`, in the shape that takes fewest.

    >>> block_memories(512, 72), block_memories(4096, 8), block_memories(0, 8)
    (2, 2, 0)
    """
    return min(ceil(num_words / words) * ceil(num_bits / bits) for words, bits in BLOCK_SHAPES)


def memory(fpga: Fpga, num_words: int, num_bits: int) -> Resources:
    """Where words are kept: a single one in wires, few in LUTs, else in block memories."""
    if num_words <= LUT_WORDS:
        luts = num_bits * ceil(num_words / 2 ** int(fpga.num_lut_inputs)) if num_words > 1 else 0
        return Resources(luts=luts, dsps=0, block_memories=0)
    return Resources(luts=0, dsps=0, block_memories=block_memories(num_words, num_bits))


LUT_WORDS = 64
"""Words up to which a memory is made of LUTs. Source: AMD UG474, 2016: a LUT of six inputs holds 64 bits."""
