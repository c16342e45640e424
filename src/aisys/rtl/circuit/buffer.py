"""A buffer of slots between the memory port and the grid: one side fills a slot while the other reads another."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from aisys.rtl.circuit.column import BLOCK_RAM, LUT_RAM


class Buffer(Component):
    """`num_slots` chunks of up to `num_words` words. Writes fill slots in turn; a word read is seen a cycle later."""

    def __init__(self, *, num_bits: int, num_slots: int, num_words: int, is_block: bool) -> None:
        self.shape, self.attributes = unsigned(num_bits), BLOCK_RAM if is_block else LUT_RAM
        self.slot_bits, self.number_bits = (num_slots - 1).bit_length(), (num_words - 1).bit_length()
        super().__init__({
            "write": In(1), "write_at": In(self.number_bits), "word": In(num_bits), "is_filled": In(1),
            "read_slot": In(self.slot_bits), "read_at": In(self.number_bits), "read_enable": In(1, init=1),
            "found": Out(num_bits),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Any:
        """One memory; the slot that is being filled goes on with `is_filled`."""
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=self.shape, depth=1 << (self.slot_bits + self.number_bits), init=[], attrs=self.attributes
        )
        write, read = memory.write_port(), memory.read_port()
        slot = Signal(self.slot_bits)
        m.d.sync += slot.eq(slot + self.is_filled)
        m.d.comb += [
            write.en.eq(self.write), write.addr.eq(Cat(self.write_at, slot)), write.data.eq(self.word),
            read.en.eq(self.read_enable), read.addr.eq(Cat(self.read_at, self.read_slot)), self.found.eq(read.data),
        ]  # fmt: skip
        return m
