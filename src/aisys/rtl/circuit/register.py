"""Signals by name, and the chains of registers that let operands meet in the right element in the right cycle."""

from typing import Any

from amaranth.hdl import Signal


def named(**shapes: Any) -> Any:
    """One signal per argument, called like it in the Verilog: `go, count = named(go=1, count=8)`."""
    return tuple(Signal(shape, name=name) for name, shape in shapes.items())


def delayed(m: Any, signal: Any, num_cycles: int) -> Any:
    """`signal` as it was `num_cycles` ago; the registers go into module `m`."""
    for _ in range(num_cycles):
        later = Signal.like(signal)
        m.d.sync += later.eq(signal)
        signal = later
    return signal
