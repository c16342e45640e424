"""LUTs and registers of a generated array that grow with its size, counted from the circuit as Yosys maps it.

What every array has beside them (loader, receiver, writer, counters) is a constant that area.toml holds. The rules,
read off the cells of arrays that Yosys and nextpnr mapped to ECP5:

    adder of w bits      2 LUTs per pair of bits, and 4 where its carry chain begins and ends
    choice of n words    n / 2 LUTs per bit (the multiplexers behind LUTs are free); n - 1 within a sparse element
    memory of LUTs       6 LUTs per 16 words of 4 bits, and a choice of words where there are more than 16
    registers            one per bit; those that hold the same value in the same cycle become one; none where a
                         multiplier's block has it
"""

from math import ceil

from aisys.cost.generated_array.design import (
    ACTIVATION_BITS,
    PARAMETER_SLOTS,
    PRODUCT_BITS,
    SUM_BITS,
    TOP_SLOTS,
    WEIGHT_BITS,
    ArrayDesign,
    partial_sum_bits,
)

ARRIVAL_BITS = 5
"""Of the marks that travel with a row of results."""

USED_PARAMETER_BITS = 56
"""Of the 64 bits of one channel's parameters; the last byte is not kept."""


def counted_luts(design: ArrayDesign) -> int:
    """LUTs, carry halves and LUT memory of the elements and of what stands once per column."""
    rows, cols = design.rows, design.cols
    luts = _choice(cols, SUM_BITS) + _lut_memory(PARAMETER_SLOTS * _power(max(2, cols)), USED_PARAMETER_BITS)
    if design.dataflow == "os":  # the sum and its start, and the way out of the sum, which the top row has for nothing
        element = _adder(SUM_BITS) + 2 * SUM_BITS
        return luts + rows * cols * element + cols * (_lut_memory(2 * _power(rows), SUM_BITS) - SUM_BITS)
    group = 1 if design.sparsity is None else design.sparsity[1]
    sums = sum(_adder(partial_sum_bits(row + 1)) for row in range(1, rows))
    column = sums + rows * (group - 1) * ACTIVATION_BITS + _adder(SUM_BITS) + SUM_BITS
    return luts + cols * column + _lut_memory(TOP_SLOTS * _power(rows), design.top_word_bits)


def counted_registers(design: ArrayDesign) -> int:
    """Registers of the elements, of the skew around them, and of what stands once per row or column."""
    rows, cols = design.rows, design.cols
    word_bits = design.top_word_bits // cols
    down = word_bits * (cols * (cols - 1) // 2 + cols * (rows - 1) + cols)
    waiting = 8 * design.port_bytes * (max(design.left_beats, design.top_beats) - 1)
    common = _right(design) + design.left_word_bits + down + waiting + cols * SUM_BITS
    diagonal = rows + cols - 2
    if design.dataflow == "os":
        return common + rows * cols * 3 * SUM_BITS + 3 * diagonal + rows - 1 + cols * SUM_BITS - _in_blocks(design)
    sums = cols * sum(partial_sum_bits(row + 1) for row in range(rows))
    arrival = ARRIVAL_BITS + (design.out_slot_rows - 1).bit_length()
    column = 2 * partial_sum_bits(rows) + SUM_BITS + word_bits
    marks = 2 * diagonal + rows - 1 + arrival * (rows + cols + design.is_pipelined)
    return common + rows * cols * 2 * word_bits + sums + cols * column + marks - _in_blocks(design)


def _in_blocks(design: ArrayDesign) -> int:
    """Registers that are a multiplier's own and nobody else's: what stays there, and what ends its way there.

    Behind the multipliers of a pipelined array all are, in others those of the first row, whose sums are products.
    """
    rows, cols = design.rows, design.cols
    if design.dataflow == "os":
        return ACTIVATION_BITS * rows + WEIGHT_BITS * cols
    operands = 0 if design.sparsity else WEIGHT_BITS * rows * cols + ACTIVATION_BITS * rows
    return operands + (0 if design.is_pipelined else PRODUCT_BITS * cols)


def _right(design: ArrayDesign) -> int:
    """Registers of what moves right: a row sees it as many cycles late as its number, and so do its elements.

    Rows of a sparse array that share a group hold the same values a cycle apart, so they share registers.
    """
    kept, group = design.sparsity or (1, 1)
    last_rows = range(kept - 1, design.rows, kept)
    return ACTIVATION_BITS * group * sum(row + design.cols - 1 for row in last_rows)


def _adder(num_bits: int) -> int:
    return 2 * ceil(num_bits / 2) + 4


def _choice(num_words: int, num_bits: int) -> int:
    return 0 if num_words == 1 else ceil(num_words / 2) * num_bits


def _lut_memory(num_words: int, num_bits: int) -> int:
    blocks = max(1, num_words // 16)
    return 6 * blocks * ceil(num_bits / 4) + _choice(blocks, num_bits)


def _power(number: int) -> int:
    """The least power of two that is not below `number`."""
    return 1 << (number - 1).bit_length()
