"""Sends output tiles to the memory: reads results, requantizes them, and fills the beats of the port."""

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib.data import View
from amaranth.lib.wiring import Component, In, Out

from aisys.cost.generated_array.design import ArrayDesign
from aisys.rtl.circuit.column import row_bits
from aisys.rtl.circuit.job import ADDRESS_BITS, JOB
from aisys.rtl.circuit.register import named
from aisys.rtl.circuit.requantize import LANE_STAGES, PARAMETERS, Lane
from aisys.rtl.circuit.semaphore import Semaphore
from aisys.rtl.circuit.walk import Walk

READ_STAGES = 3
"""From the cycle that reads a column group to the one in which the lanes see it."""


class Writer(Component):
    """One output tile after another, row by row, `lanes` columns at a time. A beat holds values of one row only.

    Everything waits while a beat stands at the port and is not accepted. `is_written` says that a tile is out.
    """

    def __init__(self, design: ArrayDesign) -> None:
        self.design = design
        self.group_bits = (design.column_groups - 1).bit_length()
        results = {f"result_{j}": In(32) for j in range(design.cols)}
        super().__init__({
            "start": In(1), "job": In(JOB), "is_done": In(1), "loaded_parameter": In(1), "is_written": Out(1),
            "enable": Out(1), "slot": Out(1), "row": Out(row_bits(design)), "group": Out(max(1, self.group_bits)),
            "parameters": In(design.parameter_word_bits), **results,
            "beat_valid": Out(1), "beat_accepted": In(1), "beat": Out(8 * design.port_bytes),
            "address": Out(ADDRESS_BITS), "is_over": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Any:
        """The walk over tiles, the counters of rows and groups, and the pipeline behind them."""
        m = Module()
        m.submodules.walk = walk = Walk()
        m.submodules.finished = finished = Semaphore(start=0, most=2)
        m.submodules.parameters = parameters = Semaphore(start=0, most=2)
        is_idle = Signal(init=1)
        is_active, go, is_last_group, is_last = named(is_active=1, go=1, is_last_group=1, is_last=1)
        last_row = Signal.like(self.row)
        m.d.comb += [
            self.enable.eq(~self.beat_valid | self.beat_accepted),
            walk.start.eq(self.start), walk.num_m.eq(self.job.num_m), walk.num_n.eq(self.job.num_n), walk.num_k.eq(1),
            go.eq(is_idle & (finished.level != 0) & (parameters.level != 0)), walk.advance.eq(go),
            finished.up.eq(self.is_done), finished.down.eq(go),
            parameters.up.eq(self.loaded_parameter), parameters.down.eq(go),
            is_last_group.eq(self.group == self.design.column_groups - 1),
            is_last.eq(is_last_group & (self.row == last_row)),
            self.is_over.eq(walk.is_over & is_idle),
        ]  # fmt: skip
        with m.If(is_active & self.enable):
            m.d.sync += [self.group.eq(Mux(is_last_group, 0, self.group + 1)), self.row.eq(self.row + is_last_group)]
            m.d.sync += is_active.eq(~is_last)
        with m.If(self.is_written):
            m.d.sync += [is_idle.eq(1), self.slot.eq(~self.slot)]
        with m.If(go):
            m.d.sync += [
                is_idle.eq(0), is_active.eq(1), self.row.eq(0), self.group.eq(0),
                last_row.eq(Mux(walk.is_last_m, self.job.edge_rows, self.job.full_rows)),
            ]  # fmt: skip
        marks = Cat(is_active, is_active & is_last_group, is_active & is_last)
        self._pack(m, *self._lanes(m, marks))
        return m

    def _lanes(self, m: Any, marks: Any) -> tuple[Any, list[Any]]:
        """The marks and the lanes at the end of the pipeline, `READ_STAGES` + `LANE_STAGES` cycles later."""
        group = self._late(m, self.group, READ_STAGES - 1, "group")
        marks = self._late(m, marks, READ_STAGES + LANE_STAGES, "marks")
        parameters = self._late(m, self.parameters, READ_STAGES - 1, "parameters")
        design = self.design
        found = [self._late(m, getattr(self, f"result_{j}"), 1, f"result_{j}") for j in range(design.cols)]
        lanes = []
        for i in range(design.lanes):
            columns = range(i, design.column_groups * design.lanes, design.lanes)
            results = Array([found[j] if j < design.cols else Const(0, 32) for j in columns])
            m.submodules[f"lane_{i}"] = lane = Lane()
            total = Signal(32, name=f"total_{i}")
            m.d.comb += total.eq(results[group])
            word = parameters.word_select(i, PARAMETERS.size)
            m.d.comb += [
                lane.enable.eq(self.enable), lane.is_relu.eq(self.job.is_relu),
                lane.total.eq(self._late(m, total, 1, f"total_{i}").as_signed()),
                lane.parameters.eq(View(PARAMETERS, word)),
            ]  # fmt: skip
            lanes.append(lane)
        return marks, lanes

    def _late(self, m: Any, signal: Any, num_stages: int, name: str) -> Any:
        """`signal` after so many registers that wait with the pipeline."""
        for stage in range(num_stages):
            later = Signal(len(signal), name=f"{name}_{stage}_late")
            with m.If(self.enable):
                m.d.sync += later.eq(signal)
            signal = later
        return signal

    def _pack(self, m: Any, marks: Any, lanes: list[Any]) -> None:
        """Fills a beat place by place: a byte, or four, per lane; the last beat of a row goes out as it is."""
        design, job = self.design, self.job
        small, raw = Cat(lane.small for lane in lanes), Cat(lane.raw for lane in lanes)
        places = design.port_bytes // design.lanes
        place, is_full, was_last = named(place=range(places), is_full=1, was_last=1)
        is_valid, is_row_end, is_tile_end = marks
        m.d.comb += [
            is_full.eq(place == Mux(job.is_raw, places // 4 - 1, places - 1)),
            self.is_written.eq(self.beat_valid & self.beat_accepted & was_last),
        ]
        with m.If(self.beat_valid & self.beat_accepted):
            m.d.sync += self.address.eq(self.address + 1)
        with m.If(self.start):
            m.d.sync += self.address.eq(job.out_base)
        with m.If(self.enable):
            ends = is_full | is_row_end
            m.d.sync += [self.beat_valid.eq(is_valid & ends), was_last.eq(is_tile_end)]
            with m.If(is_valid):
                m.d.sync += place.eq(Mux(ends, 0, place + 1))
        width = 8 * design.lanes
        for i in range(places):
            is_mine = Mux(job.is_raw, place == i // 4, place == i)
            with m.If(self.enable & is_valid & is_mine):
                m.d.sync += self.beat.word_select(i, width).eq(Mux(job.is_raw, raw.word_select(i % 4, width), small))
