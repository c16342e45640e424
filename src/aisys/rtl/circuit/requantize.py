"""int32 results to int8: add the bias, multiply, shift with rounding, limit. One lane handles one channel per cycle."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import Component, In, Out

from aisys.cost.generated_array.design import SUM_BITS
from aisys.rtl.circuit.register import named

LANE_STAGES = 6
"""Cycles from `total` to `small` and `raw`."""

MULTIPLIER_BITS = 16
PARAMETERS = StructLayout({"bias": signed(SUM_BITS), "multiplier": MULTIPLIER_BITS, "shift": 8, "unused": 8})
"""Of one channel: multiplier 0 to 65535, shift 0 to 47."""

SCALED_BITS = SUM_BITS + MULTIPLIER_BITS + 2


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
        biased, scaled, coarse, fine = named(
            biased=signed(SUM_BITS), scaled=signed(SCALED_BITS), coarse=signed(SCALED_BITS), fine=signed(SCALED_BITS)
        )
        low, high = named(low=2 * MULTIPLIER_BITS, high=signed(2 * MULTIPLIER_BITS + 1))
        multiplier, fine_shift = named(multiplier=MULTIPLIER_BITS, fine_shift=3)
        shifts = [Signal(6, name=f"shift_{i}") for i in range(3)]
        raws = [Signal(signed(SUM_BITS), name=f"raw_{i}") for i in range(4)]
        rounded = Signal(signed(SCALED_BITS))
        least = Mux(self.is_relu, 0, -128)
        m.d.comb += rounded.eq((fine + 1) >> 1)
        with m.If(self.enable):
            m.d.sync += [
                biased.eq(self.total + self.parameters.bias), multiplier.eq(self.parameters.multiplier),
                low.eq(biased[:MULTIPLIER_BITS] * multiplier),
                high.eq(biased[MULTIPLIER_BITS:].as_signed() * multiplier),
                scaled.eq(((high << MULTIPLIER_BITS) + low) << 1),
                coarse.eq(scaled >> (shifts[2][3:] << 3)), fine_shift.eq(shifts[2][:3]),
                fine.eq(coarse >> fine_shift),
                self.small.eq(Mux(rounded > 127, 127, Mux(rounded < least, least, rounded))),
                *(later.eq(shift) for later, shift in zip(shifts, [self.parameters.shift, *shifts], strict=False)),
                *(later.eq(raw) for later, raw in zip([*raws, self.raw], [biased, *raws], strict=True)),
            ]  # fmt: skip
        return m
