"""One multiply-accumulate element of each kind. Operands enter, move on a cycle later, and meet in the multiplier."""

from typing import Any

from amaranth.hdl import Array, Module, Mux, Signal, signed
from amaranth.lib.wiring import Component, In, Out

from aisys.cost.generated_array.design import (
    ACTIVATION_BITS,
    PRODUCT_BITS,
    SUM_BITS,
    WEIGHT_BITS,
    ArrayDesign,
    partial_sum_bits,
)
from aisys.rtl.circuit.register import named


class WeightStationaryElement(Component):
    """Multiplies what comes from the left by its weight, and adds the product to the sum from above.

    `capture` keeps the word that passes from the top as the next weight; `swap` makes the next weight the one in use,
    for the vector that follows a cycle later. A sparse element sees a whole group and takes the value at its index.
    """

    def __init__(self, design: ArrayDesign, row: int) -> None:
        self.design = design
        group = 1 if design.sparsity is None else design.sparsity[1]
        self.word_bits = WEIGHT_BITS + design.index_bits
        above, below = (partial_sum_bits(max(1, num)) for num in (row, row + 1))
        super().__init__({
            "left": In(ACTIVATION_BITS * group), "right": Out(ACTIVATION_BITS * group),
            "top": In(self.word_bits), "bottom": Out(self.word_bits),
            "capture": In(1), "capture_right": Out(1), "swap": In(1), "swap_right": Out(1),
            "sum_above": In(signed(above)), "sum_below": Out(signed(below)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Any:
        """Two weight registers, the multiplier, and the adder."""
        m = Module()
        following, weight = named(following=self.word_bits, weight=self.word_bits)
        m.d.sync += [
            self.right.eq(self.left), self.bottom.eq(self.top),
            self.capture_right.eq(self.capture), self.swap_right.eq(self.swap),
        ]  # fmt: skip
        with m.If(self.capture):
            m.d.sync += following.eq(self.top)
        with m.If(self.swap):
            m.d.sync += weight.eq(following)
        product = Signal(signed(PRODUCT_BITS))
        multiplied = self._activation(weight).as_signed() * weight[:WEIGHT_BITS].as_signed()
        m.d["sync" if self.design.is_pipelined else "comb"] += product.eq(multiplied)
        m.d.sync += self.sum_below.eq(self.sum_above + product)
        return m

    def _activation(self, weight: Any) -> Any:
        values = [self.left.word_select(i, ACTIVATION_BITS) for i in range(len(self.left) // ACTIVATION_BITS)]
        return values[0] if len(values) == 1 else Array(values)[weight[WEIGHT_BITS:]]


class OutputStationaryElement(Component):
    """Multiplies what comes from the left by what comes from the top, and adds the product to its own sum.

    `first` starts a new sum with this product; `last` hands the finished sum to a second register, from which
    `release` sends it down; sums from above pass through at other times.
    """

    def __init__(self, design: ArrayDesign) -> None:
        self.is_pipelined = design.is_pipelined
        super().__init__({
            "left": In(ACTIVATION_BITS), "right": Out(ACTIVATION_BITS),
            "top": In(WEIGHT_BITS), "bottom": Out(WEIGHT_BITS),
            "control": In(3), "control_right": Out(3),
            "sum_above": In(signed(SUM_BITS)), "sum_below": Out(signed(SUM_BITS)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Any:
        """The multiplier, the sum, and the register it leaves through."""
        m = Module()
        product, total, finished = named(
            product=signed(PRODUCT_BITS), total=signed(SUM_BITS), finished=signed(SUM_BITS)
        )
        first, last, release = self.control
        m.d.sync += [self.right.eq(self.left), self.bottom.eq(self.top), self.control_right.eq(self.control)]
        multiplied = self.left.as_signed() * self.top.as_signed()
        if self.is_pipelined:
            begins, ends = named(begins=1, ends=1)
            m.d.sync += [product.eq(multiplied), begins.eq(first), ends.eq(last)]
        else:
            begins, ends = first, last
            m.d.comb += product.eq(multiplied)
        was_last = Signal()
        m.d.sync += [was_last.eq(ends), total.eq(Mux(begins, 0, total) + product)]
        with m.If(was_last):
            m.d.sync += finished.eq(total)
        m.d.sync += self.sum_below.eq(Mux(release, finished, self.sum_above))
        return m
