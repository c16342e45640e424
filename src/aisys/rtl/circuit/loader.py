"""Asks the memory for the chunks of every step, in the order of the steps, as far ahead as the buffers have room."""

from typing import Any

from amaranth.hdl import Array, Const, Module, Mux, Signal
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import Component, In, Out

from aisys.cost.generated_array.design import OUTSTANDING_LOADS, PARAMETER_SLOTS, TOP_SLOTS, ArrayDesign
from aisys.rtl.circuit.job import ADDRESS_BITS, JOB, ROW_BITS
from aisys.rtl.circuit.register import named
from aisys.rtl.circuit.semaphore import Semaphore
from aisys.rtl.circuit.walk import Walk

TOP, LEFT, PARAMETER = range(3)
TARGETS = ("top", "left", "parameter")
BEATS_BITS = 20

CHUNK = StructLayout({"target": 2, "last_word": ROW_BITS})
"""A chunk of operands: the buffer it is for, and its last word, counted from 0."""


class Loader(Component):
    """One command per chunk: top, then left where it is not there yet, then parameters where an output tile begins.

    `free_TARGET` gives a slot back; `is_loaded` says that the oldest outstanding chunk has come.
    """

    def __init__(self, design: ArrayDesign) -> None:
        self.design = design
        super().__init__({
            "start": In(1), "job": In(JOB), "is_loaded": In(1), **{f"free_{name}": In(1) for name in TARGETS},
            "ask": Out(1), "is_accepted": In(1), "address": Out(ADDRESS_BITS), "num_beats": Out(BEATS_BITS),
            "chunk": Out(CHUNK),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Any:
        """The walk over steps, up to three commands per step, and the credits that hold it back."""
        m = Module()
        m.submodules.walk = walk = Walk()
        m.submodules.outstanding = outstanding = Semaphore(start=OUTSTANDING_LOADS, most=OUTSTANDING_LOADS)
        slots = (TOP_SLOTS, self.design.left_slots, PARAMETER_SLOTS)
        room = [Semaphore(start=count, most=count) for count in slots]
        phase, following, fire, is_prepared = named(phase=2, following=2, fire=1, is_prepared=1)
        m.d.comb += [
            walk.start.eq(self.start),
            *(getattr(walk, f"num_{axis}").eq(self.job[f"num_{axis}"]) for axis in "mnk"),
            self.ask.eq(is_prepared & (outstanding.level != 0) & Array([r.level != 0 for r in room])[phase]),
            fire.eq(self.ask & self.is_accepted),
            outstanding.down.eq(fire),
            outstanding.up.eq(self.is_loaded),
            walk.advance.eq(fire & (following == TOP)),
        ]
        for target, name in enumerate(TARGETS):
            m.submodules[f"room_{name}"] = room[target]
            freed = getattr(self, f"free_{name}")
            m.d.comb += [room[target].down.eq(fire & (phase == target)), room[target].up.eq(freed)]
        needs_left = walk.is_first_n | ~self.job.is_resident
        with m.If((phase == TOP) & needs_left):
            m.d.comb += following.eq(LEFT)
        with m.Elif((phase != PARAMETER) & walk.is_first_k):
            m.d.comb += following.eq(PARAMETER)
        m.d.sync += is_prepared.eq(~fire & (is_prepared | ~walk.is_over))
        with m.If(fire):
            m.d.sync += phase.eq(following)
        at = Array([Signal(ADDRESS_BITS, name=f"{name}_at") for name in TARGETS])
        self._command(m, walk, phase, at)
        self._pointers(m, walk, phase, fire, at)
        return m

    def _command(self, m: Any, walk: Any, phase: Any, at: Any) -> None:
        """How long the chunk of this phase is, and where it lies; a register, so that a command takes two cycles."""
        design, job = self.design, self.job
        is_edge = walk.is_last_m if design.dataflow == "ws" else walk.is_last_k
        last_vector = Mux(is_edge, job.edge_vectors, job.full_vectors)
        last_top = Const(design.rows - 1, ROW_BITS) if design.dataflow == "ws" else last_vector
        last = (last_top, last_vector, Const(design.column_groups - 1, ROW_BITS))
        beats = (design.top_beats, design.left_beats, design.parameter_beats)
        m.d.sync += [
            self.num_beats.eq(Array([(word + 1) * count for word, count in zip(last, beats, strict=True)])[phase]),
            self.chunk.last_word.eq(Array(last)[phase]), self.chunk.target.eq(phase), self.address.eq(at[phase]),
        ]  # fmt: skip

    def _pointers(self, m: Any, walk: Any, phase: Any, fire: Any, at: Any) -> None:
        """Where the next chunk of each kind lies: chunks follow one another, and loops go back to their beginnings."""
        job = self.job
        panel, after, restart, panel_ends = named(panel=ADDRESS_BITS, after=ADDRESS_BITS, restart=1, panel_ends=1)
        m.d.comb += [
            after.eq(self.address + self.num_beats),
            restart.eq(self.start | (walk.advance & walk.is_last_k & walk.is_last_n)),
            panel_ends.eq(fire & (phase == LEFT) & walk.is_last_k & walk.is_last_n),
        ]
        for target, base in ((TOP, job.top_base), (PARAMETER, job.parameter_base)):
            with m.If(restart | (fire & (phase == target))):
                m.d.sync += at[target].eq(Mux(restart, base, after))
        is_again = ~job.is_resident & walk.is_last_k & ~walk.is_last_n
        with m.If(self.start | (fire & (phase == LEFT))):
            m.d.sync += at[LEFT].eq(Mux(self.start, job.left_base, Mux(is_again, panel, after)))
        with m.If(self.start | panel_ends):
            m.d.sync += panel.eq(Mux(self.start, job.left_base, after))
