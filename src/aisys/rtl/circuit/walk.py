"""The loops over tiles: m outermost, then n, then k."""

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import Component, In, Out

from aisys.rtl.circuit.job import COUNT_BITS
from aisys.rtl.circuit.register import named


class Walk(Component):
    """Where a part stands in the three loops: `advance` goes on, `start` goes back to the first tile.

    The counts must not change while the walk is under way. `is_over` holds once the last tile has been passed.
    """

    def __init__(self) -> None:
        counts = {f"num_{axis}": In(COUNT_BITS) for axis in "mnk"}
        flags = ("is_first_n", "is_first_k", "is_last_m", "is_last_n", "is_last_k")
        super().__init__({
            "start": In(1), "advance": In(1), **counts, "k": Out(COUNT_BITS),
            **{flag: Out(1) for flag in flags}, "is_over": Out(1, init=1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Any:
        """Three counters that carry into each other, each with registers that mark its first and its last value."""
        m = Module()
        at_m, at_n = named(at_m=COUNT_BITS, at_n=COUNT_BITS)
        carry_n, carry_m = self.advance & self.is_last_k, self.advance & self.is_last_k & self.is_last_n
        loops = (
            (self.k, self.num_k, self.is_first_k, self.is_last_k, self.advance),
            (at_n, self.num_n, self.is_first_n, self.is_last_n, carry_n),
            (at_m, self.num_m, Signal(name="is_first_m"), self.is_last_m, carry_m),
        )
        for at, count, is_first, is_last, goes_on in loops:
            with m.If(goes_on):
                m.d.sync += [at.eq(at + 1), is_first.eq(0), is_last.eq(at + 2 == count)]
            with m.If(self.start | (goes_on & is_last)):
                m.d.sync += [at.eq(0), is_first.eq(1), is_last.eq(count == 1)]
        with m.If(carry_m & self.is_last_m):
            m.d.sync += self.is_over.eq(1)
        with m.If(self.start):
            m.d.sync += self.is_over.eq(0)
        return m
