"""The whole array: loader, buffers, grid, columns and writer, and the counter of cycles that the model is held to."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from aisys.cost.generated_array.design import PARAMETER_SLOTS, TOP_SLOTS, ArrayDesign
from aisys.rtl.circuit.buffer import Buffer
from aisys.rtl.circuit.column import ARRIVAL, Accumulator, OutputColumn, row_bits
from aisys.rtl.circuit.grid import OutputStationaryGrid, WeightStationaryGrid
from aisys.rtl.circuit.job import ADDRESS_BITS, JOB
from aisys.rtl.circuit.loader import BEATS_BITS, Loader
from aisys.rtl.circuit.receiver import Receiver
from aisys.rtl.circuit.register import delayed, named
from aisys.rtl.circuit.semaphore import Semaphore
from aisys.rtl.circuit.stream import Preload, Stream
from aisys.rtl.circuit.writer import Writer

CYCLE_BITS = 40
EDGE_STAGES = 2
"""From the cycle that reads an operand to the one in which it enters the grid."""

PORTS = {
    "clk": "clock; all happens at its rising edge", "rst": "reset, high for a cycle at least",
    "start": "high for a cycle: begin the job that the fields say", "is_busy": "high until the last beat is accepted",
    "cycles": "from start to the last beat; counts while is_busy",
    "ask": "read ask_beats beats, from ask_address on", "ask_ready": "the memory takes that in this cycle",
    "ask_address": "in beats", "ask_beats": "how many, one after another",
    "read_valid": "read_beat holds the next beat that was asked for, in order", "read_beat": "its bytes, lowest first",
    "write_valid": "write_beat is to be written to write_address", "write_ready": "the memory takes it in this cycle",
    "write_address": "in beats, from out_base on", "write_beat": "its bytes, lowest first",
}  # fmt: skip
"""What each port says that is no field of the job."""


class Top(Component):
    """An array that computes one matmul per `start`. `cycles` counts from there to the last beat; then `is_busy` falls.

    Reads: `ask` with `ask_address` and `ask_beats` until `ask_ready`; beats come back in order, whenever they come.
    Writes: `write_valid` with `write_address` and `write_beat` until `write_ready`. Addresses count beats.
    """

    def __init__(self, design: ArrayDesign) -> None:
        self.design = design
        beat = 8 * design.port_bytes
        super().__init__({
            "start": In(1), "is_busy": Out(1), "cycles": Out(CYCLE_BITS),
            **{name: In(field.shape) for name, field in JOB},
            "ask": Out(1), "ask_ready": In(1), "ask_address": Out(ADDRESS_BITS), "ask_beats": Out(BEATS_BITS),
            "read_valid": In(1), "read_beat": In(beat),
            "write_valid": Out(1), "write_ready": In(1), "write_address": Out(ADDRESS_BITS), "write_beat": Out(beat),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Any:
        """The parts, joined."""
        m = Module()
        begin, job = named(begin=1, job=JOB)
        m.d.comb += [begin.eq(self.start & ~self.is_busy), *(job[name].eq(getattr(self, name)) for name, _ in JOB)]
        m.submodules.loader = loader = Loader(self.design)
        m.submodules.receiver = receiver = Receiver(self.design)
        m.submodules.stream = stream = Stream(self.design)
        m.submodules.writer = writer = Writer(self.design)
        for part in (loader, stream, writer):
            m.d.comb += [part.start.eq(begin), part.job.eq(job)]
        m.d.comb += [
            self.ask.eq(loader.ask), self.ask_address.eq(loader.address), self.ask_beats.eq(loader.num_beats),
            loader.is_accepted.eq(self.ask_ready), loader.is_loaded.eq(receiver.is_loaded),
            receiver.asked.eq(loader.ask & self.ask_ready), receiver.chunk.eq(loader.chunk),
            receiver.beat_valid.eq(self.read_valid), receiver.beat.eq(self.read_beat),
            self.write_valid.eq(writer.beat_valid), writer.beat_accepted.eq(self.write_ready),
            self.write_beat.eq(writer.beat), self.write_address.eq(writer.address),
            loader.free_left.eq(stream.free_left), loader.free_parameter.eq(writer.is_written),
            stream.loaded_left.eq(receiver.loaded_left), stream.free_out.eq(writer.is_written),
            writer.loaded_parameter.eq(receiver.loaded_parameter),
        ]  # fmt: skip
        left = self._left(m, receiver, stream)
        self._parameters(m, receiver, writer)
        join = self._weight_stationary if self.design.dataflow == "ws" else self._output_stationary
        self._columns(m, writer, *join(m, left, loader, receiver, stream))
        with m.If(begin):
            m.d.sync += [self.is_busy.eq(1), self.cycles.eq(0)]
        with m.Elif(self.is_busy):
            m.d.sync += self.cycles.eq(self.cycles + 1)
            with m.If(writer.is_over):
                m.d.sync += [self.is_busy.eq(0), self.cycles.eq(self.cycles)]
        return m

    def _left(self, m: Any, receiver: Any, stream: Any) -> Any:
        """Vectors of A as they enter the grid; zero between steps, so that sums do not change."""
        design = self.design
        m.submodules.left = left = Buffer(
            num_bits=design.left_word_bits, num_slots=design.left_slots, num_words=design.tile, is_block=True
        )
        m.d.comb += [
            left.write.eq(receiver.write_left), left.write_at.eq(receiver.number), left.word.eq(receiver.left_word),
            left.is_filled.eq(receiver.loaded_left), left.read_slot.eq(stream.left_slot),
            left.read_at.eq(stream.number),
        ]  # fmt: skip
        entering = Signal(design.left_word_bits)
        m.d.sync += entering.eq(Mux(delayed(m, stream.is_reading, 1), left.found, 0))
        return entering

    def _top(self, m: Any, receiver: Any, slot: Any, number: Any) -> Any:
        """Words of B as they enter the grid."""
        design = self.design
        m.submodules.top = top = Buffer(
            num_bits=design.top_word_bits, num_slots=TOP_SLOTS, num_words=design.top_slot_words,
            is_block=design.dataflow == "os",
        )  # fmt: skip
        m.d.comb += [
            top.write.eq(receiver.write_top), top.write_at.eq(receiver.number), top.word.eq(receiver.top_word),
            top.is_filled.eq(receiver.loaded_top), top.read_slot.eq(slot), top.read_at.eq(number),
        ]  # fmt: skip
        return delayed(m, top.found, EDGE_STAGES - 1)

    def _parameters(self, m: Any, receiver: Any, writer: Any) -> None:
        design = self.design
        m.submodules.parameters = buffer = Buffer(
            num_bits=design.parameter_word_bits, num_slots=PARAMETER_SLOTS, num_words=max(2, design.column_groups),
            is_block=False,
        )  # fmt: skip
        m.d.comb += [
            buffer.write.eq(receiver.write_parameter), buffer.write_at.eq(receiver.number),
            buffer.word.eq(receiver.parameter_word), buffer.is_filled.eq(receiver.loaded_parameter),
            buffer.read_slot.eq(writer.slot), buffer.read_at.eq(writer.group), buffer.read_enable.eq(writer.enable),
            writer.parameters.eq(buffer.found),
        ]  # fmt: skip

    def _weight_stationary(self, m: Any, left: Any, loader: Any, receiver: Any, stream: Any) -> tuple[Any, Any, Any]:
        """The grid with the preload of its weights; a row of results per vector."""
        m.submodules.preload = preload = Preload(self.design)
        m.submodules.grid = grid = WeightStationaryGrid(self.design)
        m.d.comb += [
            preload.loaded.eq(receiver.loaded_top), preload.take.eq(stream.take_top), loader.free_top.eq(preload.free),
            stream.is_top_ready.eq(preload.is_ready), grid.left.eq(left),
            grid.top.eq(self._top(m, receiver, preload.slot, preload.number)),
            grid.capture.eq(delayed(m, preload.is_start, EDGE_STAGES)),
            grid.swap.eq(delayed(m, stream.is_step_start, EDGE_STAGES - 1)),
        ]  # fmt: skip
        arrival = Signal(ARRIVAL)
        m.d.comb += [
            arrival.is_valid.eq(stream.is_reading), arrival.is_first.eq(stream.is_first_k),
            arrival.is_last.eq(stream.is_last_k), arrival.is_end.eq(stream.is_step_end),
            arrival.slot.eq(stream.out_slot),
        ]  # fmt: skip
        together = delayed(m, Cat(arrival, stream.number[: row_bits(self.design)]), EDGE_STAGES + grid.latency)
        return grid, together[: len(Cat(arrival))], together[len(Cat(arrival)) :]

    def _output_stationary(self, m: Any, left: Any, loader: Any, receiver: Any, stream: Any) -> tuple[Any, Any, Any]:
        """The grid with both streams; `rows` rows of results once a k loop ends."""
        m.submodules.filled = filled = Semaphore(start=0, most=TOP_SLOTS)
        m.submodules.grid = grid = OutputStationaryGrid(self.design)
        slot = Signal()
        with m.If(stream.is_step_end):
            m.d.sync += slot.eq(~slot)
        is_last = Signal()
        m.d.comb += [
            filled.up.eq(receiver.loaded_top), filled.down.eq(stream.take_top), loader.free_top.eq(stream.is_step_end),
            stream.is_top_ready.eq(filled.level != 0), grid.left.eq(left),
            grid.top.eq(self._top(m, receiver, slot, stream.number)),
            is_last.eq(stream.is_step_end & stream.is_last_k),
            grid.first.eq(delayed(m, stream.is_step_start & stream.is_first_k, EDGE_STAGES)),
            grid.last.eq(delayed(m, is_last, EDGE_STAGES)),
        ]  # fmt: skip
        arrival, row, out_slot = named(arrival=ARRIVAL, row=row_bits(self.design), out_slot=1)
        begins = delayed(m, is_last, EDGE_STAGES + grid.latency - 1)
        m.d.comb += [arrival.is_end.eq(row == self.design.rows - 1), arrival.slot.eq(out_slot)]
        with m.If(arrival.is_valid):
            m.d.sync += row.eq(row + 1)
        with m.If(arrival.is_valid & arrival.is_end):
            m.d.sync += [arrival.is_valid.eq(0), row.eq(0), out_slot.eq(~out_slot)]
        with m.If(begins):
            m.d.sync += [arrival.is_valid.eq(1), row.eq(0)]
        return grid, arrival, row

    def _columns(self, m: Any, writer: Any, grid: Any, arrival: Any, row: Any) -> None:
        """Results of every column; what is known about them moves right by a column per cycle."""
        design = self.design
        is_done: Any = None
        for j in range(design.cols):
            total = getattr(grid, f"sum_{j}")
            here = Signal(ARRIVAL, name=f"arrival_{j}")
            m.d.comb += here.eq(arrival)
            m.submodules[f"column_{j}"] = column = OutputColumn(design, is_block=design.dataflow == "ws")
            if design.dataflow == "ws":
                m.submodules[f"accumulator_{j}"] = cell = Accumulator(design, total.shape())
                m.d.comb += [
                    cell.arrival.eq(here), cell.row.eq(row), cell.sum.eq(total), column.write.eq(cell.write),
                    column.write_at.eq(cell.write_at), column.value.eq(cell.value),
                ]  # fmt: skip
                is_done = cell.is_done
            else:
                m.d.comb += [
                    column.write.eq(here.is_valid), column.write_at.eq(Cat(row, here.slot)), column.value.eq(total)
                ]  # fmt: skip
                is_done = here.is_valid & here.is_end
            m.d.comb += [
                column.read_at.eq(Cat(writer.row, writer.slot)), column.read_enable.eq(writer.enable),
                getattr(writer, f"result_{j}").eq(column.result),
            ]  # fmt: skip
            arrival, row = delayed(m, Cat(here), 1), delayed(m, row, 1)
        m.d.comb += writer.is_done.eq(is_done)
