"""Chains of registers: what skews operands so that they meet in the right element in the right cycle."""

from typing import Any

from amaranth.hdl import Signal


def delayed(m: Any, signal: Any, num_cycles: int) -> Any:
    """`signal` as it was `num_cycles` ago; the registers go into module `m`."""
    for _ in range(num_cycles):
        later = Signal.like(signal)
        m.d.sync += later.eq(signal)
        signal = later
    return signal
