"""Takes the beats of the memory port, makes words of them, and writes each into the buffer it was asked for."""

from itertools import pairwise
from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from aisys.cost.generated_array.design import OUTSTANDING_LOADS, ArrayDesign
from aisys.rtl.circuit.job import ROW_BITS
from aisys.rtl.circuit.loader import CHUNK, TARGETS
from aisys.rtl.circuit.register import named


class Receiver(Component):
    """Beats come in the order of the chunks that were `asked` for; words go out with their number within the chunk.

    `write_TARGET` marks a word for that buffer, `loaded_TARGET` the last word of a chunk. A beat is seen a cycle later.
    """

    def __init__(self, design: ArrayDesign) -> None:
        self.design = design
        self.bits = (design.top_word_bits, design.left_word_bits, design.parameter_word_bits)
        self.beats = (design.top_beats, design.left_beats, design.parameter_beats)
        words = {f"{name}_word": Out(bits) for name, bits in zip(TARGETS, self.bits, strict=True)}
        marks = {f"{mark}_{name}": Out(1) for mark in ("write", "loaded") for name in TARGETS}
        super().__init__({
            "asked": In(1), "chunk": In(CHUNK), "beat_valid": In(1), "beat": In(8 * design.port_bytes),
            "number": Out(ROW_BITS), "is_loaded": Out(1), **words, **marks,
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Any:
        """A queue of outstanding chunks, and the beats of the word that is coming in."""
        m = Module()
        chunk = self._queue(m)
        valid, beat = named(valid=1, beat=len(self.beat))
        m.d.sync += [valid.eq(self.beat_valid), beat.eq(self.beat)]
        most = max(self.beats)
        earlier = [Signal.like(beat, name=f"earlier_{i}") for i in range(most - 1)]
        count = Signal(range(most))
        is_word, is_last = named(is_word=1, is_last=1)
        m.d.comb += [
            is_word.eq(valid & (count == Array([beats - 1 for beats in self.beats])[chunk.target])),
            is_last.eq(self.number == chunk.last_word),
            self.is_loaded.eq(is_word & is_last),
        ]
        with m.If(valid):
            m.d.sync += [count.eq(Mux(is_word, 0, count + 1))]
            m.d.sync += [new.eq(old) for new, old in zip(earlier, [beat, *earlier], strict=False)]
        with m.If(is_word):
            m.d.sync += self.number.eq(Mux(is_last, 0, self.number + 1))
        for target, (name, beats) in enumerate(zip(TARGETS, self.beats, strict=True)):
            is_mine = chunk.target == target
            m.d.comb += [
                getattr(self, f"{name}_word").eq(Cat(*reversed(earlier[: beats - 1]), beat)),
                getattr(self, f"write_{name}").eq(is_word & is_mine),
                getattr(self, f"loaded_{name}").eq(self.is_loaded & is_mine),
            ]
        return m

    def _queue(self, m: Any) -> Any:
        """The oldest outstanding chunk; the loader never asks for more than the queue holds."""
        places = [Signal(CHUNK, name=f"outstanding_{i}") for i in range(OUTSTANDING_LOADS)]
        count = Signal(range(OUTSTANDING_LOADS + 1))
        m.d.sync += count.eq(count + self.asked - self.is_loaded)
        with m.If(self.is_loaded):
            m.d.sync += [place.eq(later) for place, later in pairwise(places)]
        for i, place in enumerate(places):
            with m.If(self.asked & (count - self.is_loaded == i)):
                m.d.sync += place.eq(self.chunk)
        return places[0]
