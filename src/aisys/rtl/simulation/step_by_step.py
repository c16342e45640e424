"""Runs a circuit in Amaranth's simulator: slow, but needs no compiler."""

from collections import deque
from typing import Any

import numpy as np

from aisys.cost.generated_array.design import ArrayDesign, MemoryPort
from aisys.rtl.image import Bytes, Image

PATIENCE_CYCLES = 100_000
"""Cycles without a word on the port after which a circuit is stuck; none of them decides how long a run takes."""


def run(design: ArrayDesign, jobs: list[Image], port: MemoryPort) -> list[tuple[int, Bytes]]:
    """The cycles that the circuit counted for each job, and the beats that it wrote."""
    from amaranth.sim import Simulator

    from aisys.rtl.circuit.top import Top

    top, done = Top(design), list[tuple[int, Bytes]]()

    async def bench(context: Any) -> None:
        for job in jobs:
            done.append(await _one(context, top, job, _Memory(port, job)))

    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return done


class _Memory:
    """A memory that answers as `port` says, and stands still while `wait` says so."""

    def __init__(self, port: MemoryPort, job: Image) -> None:
        self.port, self.words = port, [int.from_bytes(beat.tobytes(), "little") for beat in job.beats]
        self.written = np.zeros((job.num_out_beats, job.beats.shape[1]), np.uint8)
        self.due = deque[tuple[int, int]]()
        self.last_read = self.last_write = -port.cycles_per_beat

    def ask(self, cycle: int, address: int, num_beats: int) -> None:
        for place in range(address, address + num_beats):
            self.last_read = max(cycle + self.port.latency_cycles, self.last_read + self.port.cycles_per_beat)
            self.due.append((self.last_read, place))

    def read(self, cycle: int) -> int | None:
        return self.words[self.due.popleft()[1]] if self.due and self.due[0][0] == cycle else None

    def is_ready(self, cycle: int) -> bool:
        return cycle >= self.last_write + self.port.cycles_per_beat

    def write(self, cycle: int, address: int, beat: int) -> None:
        self.written[address] = np.frombuffer(beat.to_bytes(self.written.shape[1], "little"), np.uint8)
        self.last_write = cycle


async def _one(context: Any, top: Any, job: Image, memory: _Memory) -> tuple[int, Bytes]:
    for name, value in job.fields.items():
        context.set(getattr(top, name), value)
    context.set(top.ask_ready, 1)
    context.set(top.start, 1)
    await context.tick()
    context.set(top.start, 0)
    cycle, last_active = 1, 1
    while context.get(top.is_busy):
        beat = memory.read(cycle)
        context.set(top.read_valid, beat is not None)
        context.set(top.read_beat, beat or 0)
        context.set(top.write_ready, memory.is_ready(cycle))
        if context.get(top.ask):
            memory.ask(cycle, context.get(top.ask_address), context.get(top.ask_beats))
            last_active = cycle
        if context.get(top.write_valid) and memory.is_ready(cycle):
            memory.write(cycle, context.get(top.write_address), context.get(top.write_beat))
            last_active = cycle
        if beat is not None:
            last_active = cycle
        assert cycle - last_active < PATIENCE_CYCLES, "the circuit is stuck"
        await context.tick()
        cycle += 1
    return context.get(top.cycles), memory.written
