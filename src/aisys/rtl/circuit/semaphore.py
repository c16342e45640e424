"""A count that two parts share: one gives, the other takes."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, Out


class Semaphore(Component):
    """`level` rises with `up` and falls with `down`, both seen a cycle later; it starts at `start`."""

    def __init__(self, *, start: int, most: int) -> None:
        self.start = start
        super().__init__({"up": In(1), "down": In(1), "level": Out(range(most + 1), init=start)})

    def elaborate(self, platform: Any) -> Any:
        """The counter."""
        m = Module()
        with m.If(self.up & ~self.down):
            m.d.sync += self.level.eq(self.level + 1)
        with m.Elif(self.down & ~self.up):
            m.d.sync += self.level.eq(self.level - 1)
        return m
