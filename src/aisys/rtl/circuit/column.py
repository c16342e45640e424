"""Below the grid, one cell per column: it sums over steps (ws), and keeps finished results for the writer."""

from typing import Any

from amaranth.hdl import Module, Mux, Shape, Signal, signed, unsigned
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from aisys.cost.generated_array.design import OUT_SLOTS, SUM_BITS, ArrayDesign

BLOCK_RAM, LUT_RAM = {"ram_style": "block"}, {"ram_style": "distributed"}


def row_bits(design: ArrayDesign) -> int:
    """Bits of the number of a result row within its slot."""
    return (design.out_slot_rows - 1).bit_length()


ARRIVAL = StructLayout(dict.fromkeys(("is_valid", "is_first", "is_last", "is_end", "slot"), 1))
"""What is known about a row of results as it leaves the grid: whether the k loop begins or ends with it, whether it is
the last row of its tile, and the slot of the tile."""


class OutputColumn(Component):
    """Two slots of finished int32 results of one column. The read is seen a cycle later, where `read_enable` holds."""

    def __init__(self, design: ArrayDesign, *, is_block: bool) -> None:
        self.attributes = BLOCK_RAM if is_block else LUT_RAM
        address = 1 + row_bits(design)
        self.depth = OUT_SLOTS << row_bits(design)
        super().__init__({
            "write": In(1), "write_at": In(address), "value": In(signed(SUM_BITS)),
            "read_at": In(address), "read_enable": In(1), "result": Out(SUM_BITS),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Any:
        """One memory with a port to write and one to read."""
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=unsigned(SUM_BITS), depth=self.depth, init=[], attrs=self.attributes
        )
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.en.eq(self.write), write.addr.eq(self.write_at), write.data.eq(self.value),
            read.en.eq(self.read_enable), read.addr.eq(self.read_at), self.result.eq(read.data),
        ]  # fmt: skip
        return m


class Accumulator(Component):
    """Adds the sums of a step to those of the steps before, row by row, and hands on the finished ones.

    Takes three cycles: read, a register, add and write. One row comes again after four cycles at the earliest.
    """

    def __init__(self, design: ArrayDesign, sum_shape: Shape) -> None:
        self.depth = 1 << row_bits(design)
        rows = row_bits(design)
        super().__init__({
            "arrival": In(ARRIVAL), "row": In(rows), "sum": In(sum_shape),
            "write": Out(1), "write_at": Out(1 + rows), "value": Out(signed(SUM_BITS)), "is_done": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Any:
        """The memory of sums, and the adder behind it."""
        m = Module()
        m.submodules.memory = memory = Memory(shape=signed(SUM_BITS), depth=self.depth, init=[], attrs=BLOCK_RAM)
        write, read = memory.write_port(), memory.read_port()
        arrival, row, added = self.arrival, self.row, self.sum
        for stage in range(2):
            names = {key: f"{key}_{stage}" for key in ("arrival", "row", "added")}
            later = Signal(ARRIVAL, name=names["arrival"])
            later_row, later_added = Signal.like(row, name=names["row"]), Signal.like(added, name=names["added"])
            m.d.sync += [later.eq(arrival), later_row.eq(row), later_added.eq(added)]
            arrival, row, added = later, later_row, later_added
        before = Signal(signed(SUM_BITS))
        m.d.comb += read.addr.eq(self.row)
        m.d.sync += before.eq(read.data)
        m.d.comb += [
            self.value.eq(Mux(arrival.is_first, 0, before) + added),
            write.data.eq(self.value), write.addr.eq(row), write.en.eq(arrival.is_valid & ~arrival.is_last),
            self.write.eq(arrival.is_valid & arrival.is_last), self.write_at[-1].eq(arrival.slot),
            self.write_at[:-1].eq(row), self.is_done.eq(self.write & arrival.is_end),
        ]  # fmt: skip
        return m
