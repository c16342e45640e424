"""Sends the vectors of one step after another through the array, as soon as what the step needs is there."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from aisys.cost.generated_array.design import OUT_SLOTS, ArrayDesign
from aisys.rtl.circuit.job import JOB, ROW_BITS
from aisys.rtl.circuit.register import named
from aisys.rtl.circuit.semaphore import Semaphore
from aisys.rtl.circuit.walk import Walk


class Stream(Component):
    """One vector per cycle, from slot `left_slot`, while `is_reading`.

    A step needs its chunk of A, what stands against it (`is_top_ready`: the next weights, or the chunk of B), and a
    free slot for its results where they are final. `take_top` says that the step begins. Steps of
    os arrays last at least as long as a column of results takes to leave.
    """

    def __init__(self, design: ArrayDesign) -> None:
        self.design = design
        self.slot_bits = (design.left_slots - 1).bit_length()
        flags = ("take_top", "free_left", "is_reading", "is_step_start", "is_step_end", "is_first_k", "is_last_k")
        super().__init__({
            "start": In(1), "job": In(JOB), "loaded_left": In(1), "is_top_ready": In(1), "free_out": In(1),
            "left_slot": Out(self.slot_bits), "number": Out(ROW_BITS), "out_slot": Out(1),
            **{flag: Out(1) for flag in flags},
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Any:
        """The walk over steps, what a step waits for, and the counter of its vectors."""
        m = Module()
        design, job = self.design, self.job
        m.submodules.walk = walk = Walk()
        m.d.comb += [walk.start.eq(self.start), *(getattr(walk, f"num_{x}").eq(job[f"num_{x}"]) for x in "mnk")]
        go, is_active, is_ending, is_last_vector = named(go=1, is_active=1, is_ending=1, is_last_vector=1)
        following, last = named(following=ROW_BITS, last=ROW_BITS)
        slot, is_left_ready, is_out_free, takes_left = self._slots(m, walk, go)
        is_edge = walk.is_last_m if design.dataflow == "ws" else walk.is_last_k
        m.d.comb += [
            go.eq(~walk.is_over & (~is_active | is_ending) & is_left_ready & self.is_top_ready & is_out_free),
            walk.advance.eq(go), self.take_top.eq(go),
            last.eq(Mux(is_edge, job.edge_vectors, job.full_vectors)),
            following.eq(self.number + 1), self.is_step_end.eq(is_active & is_last_vector),
        ]  # fmt: skip
        frees_left = Signal()
        m.d.comb += self.free_left.eq(self.is_step_end & frees_left)
        m.d.sync += self.is_step_start.eq(go)
        with m.If(self.is_step_end):
            m.d.sync += self.is_reading.eq(0)
        with m.If(is_ending):
            m.d.sync += is_active.eq(0)
        with m.If(go):
            m.d.sync += [
                is_active.eq(1), self.is_reading.eq(1), self.left_slot.eq(slot), frees_left.eq(takes_left),
                self.is_first_k.eq(walk.is_first_k), self.is_last_k.eq(walk.is_last_k),
            ]  # fmt: skip
        least = 0 if design.dataflow == "ws" else design.rows - 1
        for flag, end in ((is_last_vector, last), (is_ending, Mux(last < least, least, last))):
            at_end = Signal(ROW_BITS, name=f"{flag.name}_at")
            with m.If(is_active):
                m.d.sync += flag.eq(following == at_end)
            with m.If(go):
                m.d.sync += [at_end.eq(end), flag.eq(end == 0)]
        with m.If(is_active):
            m.d.sync += self.number.eq(following)
        with m.If(go):
            m.d.sync += self.number.eq(0)
        return m

    def _slots(self, m: Any, walk: Any, go: Any) -> tuple[Any, Any, Any, Any]:
        """The slot of A for the step, whether it is filled, whether results have room, whether A is used up."""
        m.submodules.left = left = Semaphore(start=0, most=self.design.left_slots)
        m.submodules.out = out = Semaphore(start=OUT_SLOTS, most=OUT_SLOTS)
        oldest, ahead, takes_left, out_slot = named(
            oldest=self.slot_bits, ahead=self.slot_bits, takes_left=1, out_slot=1
        )
        m.d.comb += [
            takes_left.eq(~self.job.is_resident | walk.is_last_n),
            ahead.eq(Mux(takes_left, 0, walk.k)),
            left.up.eq(self.loaded_left), left.down.eq(go & takes_left),
            out.up.eq(self.free_out), out.down.eq(go & walk.is_last_k),
        ]  # fmt: skip
        with m.If(left.down):
            m.d.sync += oldest.eq(oldest + 1)
        with m.If(out.down):
            m.d.sync += [self.out_slot.eq(out_slot), out_slot.eq(~out_slot)]
        is_out_free = ~walk.is_last_k | (out.level != 0)
        return (oldest + ahead)[: self.slot_bits], left.level > ahead, is_out_free, takes_left


class Preload(Component):
    """Sends the weights of the next step down the columns, once those before them are in use.

    `is_ready` holds from the last word until `take`. `is_reading` words come from slot `slot`, numbered `number`.
    """

    def __init__(self, design: ArrayDesign) -> None:
        self.rows = design.rows
        super().__init__({
            "loaded": In(1), "take": In(1), "free": Out(1), "is_ready": Out(1), "is_start": Out(1),
            "slot": Out(1), "number": Out((design.rows - 1).bit_length()),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Any:
        """The counter of words, and the mark that the next weights stand behind those in use."""
        m = Module()
        m.submodules.filled = filled = Semaphore(start=0, most=2)
        is_active, go = named(is_active=1, go=1)
        m.d.comb += [
            go.eq((filled.level != 0) & ~is_active & ~self.is_ready),
            filled.up.eq(self.loaded), filled.down.eq(go),
            self.free.eq(is_active & (self.number == self.rows - 1)),
            self.is_start.eq(is_active & (self.number == 0)),
        ]  # fmt: skip
        with m.If(is_active):
            m.d.sync += self.number.eq(self.number + 1)
        with m.If(self.take):
            m.d.sync += self.is_ready.eq(0)
        with m.If(self.free):
            m.d.sync += [self.is_ready.eq(1), is_active.eq(0), self.slot.eq(~self.slot)]
        with m.If(go):
            m.d.sync += [is_active.eq(1), self.number.eq(0)]
        return m
