"""The grids: elements side by side, and the skew that lets operands meet. Column j gives its results j cycles later."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Signal, signed
from amaranth.lib.wiring import Component, In, Out

from aisys.cost.generated_array.design import ACTIVATION_BITS, SUM_BITS, ArrayDesign, partial_sum_bits
from aisys.rtl.circuit.element import OutputStationaryElement, WeightStationaryElement
from aisys.rtl.circuit.register import delayed


class WeightStationaryGrid(Component):
    """Vectors from the left times weights: `sums` of column 0 follow `left` by `latency` cycles.

    `capture` comes with the first of the words for rows 0, 1, 2, ... from the top. `swap` comes a cycle before the
    first vector that uses them, and at least `rows` cycles after `capture`.
    """

    def __init__(self, design: ArrayDesign) -> None:
        self.design = design
        self.latency = design.rows + design.is_pipelined
        sums = {f"sum_{j}": Out(signed(partial_sum_bits(design.rows))) for j in range(design.cols)}
        super().__init__({
            "left": In(design.left_word_bits), "top": In(design.top_word_bits), "capture": In(1), "swap": In(1), **sums
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Any:
        """Rows from top to bottom; the mark of `capture` falls at half the speed of the words."""
        m = Module()
        design = self.design
        width = design.top_word_bits // design.cols
        tops = [delayed(m, self.top.word_select(j, width), j) for j in range(design.cols)]
        sums: list[Any] = [Const(0, signed(partial_sum_bits(1)))] * design.cols
        capture, swap = self.capture, self.swap
        for i in range(design.rows):
            right, mark, change = delayed(m, self._values(i), i), capture, swap
            for j in range(design.cols):
                element = WeightStationaryElement(design, i)
                m.submodules[f"element_{i}_{j}"] = element
                m.d.comb += [
                    element.left.eq(right), element.top.eq(tops[j]), element.sum_above.eq(sums[j]),
                    element.capture.eq(mark), element.swap.eq(change),
                ]  # fmt: skip
                right, mark, change = element.right, element.capture_right, element.swap_right
                tops[j], sums[j] = element.bottom, element.sum_below
            capture, swap = delayed(m, capture, 2), delayed(m, swap, 1)
        m.d.comb += [getattr(self, f"sum_{j}").eq(total) for j, total in enumerate(sums)]
        return m

    def _values(self, row: int) -> Any:
        """What row `row` sees of a vector: its value, or the group that its weights choose from."""
        if self.design.sparsity is None:
            return self.left.word_select(row, ACTIVATION_BITS)
        kept, group = self.design.sparsity
        return self.left.word_select(row // kept, ACTIVATION_BITS * group)


class OutputStationaryGrid(Component):
    """Sums of products of what comes from the left and the top: row i of `sums` comes i cycles after row 0.

    `first` and `last` come with the first and last vector of a sum; column 0 gives row 0 `latency` cycles after `last`.
    The last vectors of two sums must lie `rows` cycles apart.
    """

    def __init__(self, design: ArrayDesign) -> None:
        self.design = design
        self.latency = 2 + design.is_pipelined + design.rows
        sums = {f"sum_{j}": Out(signed(SUM_BITS)) for j in range(design.cols)}
        super().__init__({
            "left": In(design.left_word_bits), "top": In(design.top_word_bits), "first": In(1), "last": In(1), **sums
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Any:
        """Rows from top to bottom; the mark of release falls at half the speed of the operands."""
        m = Module()
        design = self.design
        tops = [delayed(m, self.top.word_select(j, ACTIVATION_BITS), j) for j in range(design.cols)]
        sums: list[Any] = [Const(0, signed(SUM_BITS))] * design.cols
        first, last = self.first, self.last
        release = delayed(m, self.last, 2 + design.is_pipelined)
        for i in range(design.rows):
            right = delayed(m, self.left.word_select(i, ACTIVATION_BITS), i)
            control = Signal(3, name=f"control_{i}")
            m.d.comb += control.eq(Cat(first, last, release))
            for j in range(design.cols):
                element = OutputStationaryElement(design)
                m.submodules[f"element_{i}_{j}"] = element
                m.d.comb += [
                    element.left.eq(right), element.top.eq(tops[j]), element.sum_above.eq(sums[j]),
                    element.control.eq(control),
                ]  # fmt: skip
                right, control = element.right, element.control_right
                tops[j], sums[j] = element.bottom, element.sum_below
            first, last, release = delayed(m, first, 1), delayed(m, last, 1), delayed(m, release, 2)
        m.d.comb += [getattr(self, f"sum_{j}").eq(total) for j, total in enumerate(sums)]
        return m
