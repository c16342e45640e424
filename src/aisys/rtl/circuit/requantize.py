"""int32 results to int8: add the bias, multiply, shift with rounding, limit. One lane handles one channel per cycle."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import Component, In, Out

from aisys.rtl.circuit.element import SUM_BITS

LANE_STAGES = 5
"""Cycles from `total` to `small` and `raw`."""

PARAMETERS = StructLayout({"bias": signed(SUM_BITS), "multiplier": 16, "shift": 8, "unused": 8})
"""Of one channel: multiplier 0 to 65535, shift 0 to 47."""

SCALED_BITS = SUM_BITS + 17


class Lane(Component):
    """raw = total + bias (32 bits, wrapping); small = limit(floor(raw * multiplier / 2^shift + 1/2)) to int8.

    is_relu limits to 0 .. 127 instead of -128 .. 127. Everything waits while `enable` is low.
    """

    def __init__(self) -> None:
        super().__init__({
            "enable": In(1), "total": In(signed(SUM_BITS)), "parameters": In(PARAMETERS), "is_relu": In(1),
            "raw": Out(signed(SUM_BITS)), "small": Out(signed(8)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Any:
        """One register per step of the sum; the half is added as the last bit that the shift would drop."""
        m = Module()
        biased, scaled, coarse, fine = (
            Signal(signed(SUM_BITS)), *(Signal(signed(SCALED_BITS + 1), name=name) for name in ("scaled", "coarse", "fine"))
        )  # fmt: skip
        multiplier, shift, fine_shift = Signal(16), [Signal(6, name=f"shift_{i}") for i in range(2)], Signal(3)
        raws = [Signal(signed(SUM_BITS), name=f"raw_{i}") for i in range(3)]
        rounded = Signal(signed(SCALED_BITS + 1))
        least = Mux(self.is_relu, 0, -128)
        m.d.comb += rounded.eq((fine + 1) >> 1)
        with m.If(self.enable):
            m.d.sync += [
                biased.eq(self.total + self.parameters.bias),
                multiplier.eq(self.parameters.multiplier), shift[0].eq(self.parameters.shift),
                scaled.eq((biased * multiplier) << 1), shift[1].eq(shift[0]),
                coarse.eq(scaled >> (shift[1][3:] << 3)), fine_shift.eq(shift[1][:3]),
                fine.eq(coarse >> fine_shift),
                self.small.eq(Mux(rounded > 127, 127, Mux(rounded < least, least, rounded))),
                *(later.eq(raw) for later, raw in zip([*raws, self.raw], [biased, *raws], strict=True)),
            ]  # fmt: skip
        return m
