"""One array: its cycles, its simulation, its Verilog, its place on an FPGA."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.cost.generated_array.cycles import cycles
from aisys.cost.generated_array.design import ArrayDesign, MemoryPort
from aisys.errors import BadInput, unknown_name
from aisys.rtl.image import Int8, image, results
from aisys.rtl.place import PlacedDesign, Progress, check_blocks, chip_of, place_and_route
from aisys.rtl.requantization import Requantization
from aisys.rtl.tools import need
from aisys.rtl.verilog import module_name, verilog

SIMULATORS = ("fastest", "verilator", "amaranth")

Job = tuple[Int8, Int8, Requantization | None]
"""Operands [m, k] and [k, n], and how the result becomes int8; None leaves it int32."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Simulated:
    """What the circuit did: `values` [m, n] and the `cycles` that it counted; `model_cycles` says the recurrence."""

    values: NDArray[np.int32]
    cycles: int
    model_cycles: int


class Array:
    """A generated int8 array of `rows` x `cols` elements. `options`: the other fields of ArrayDesign.

    >>> array = Array(8, 8, "os")
    >>> array.cycles(64, 256, 32), array.cycles(64, 256, 32, port=MemoryPort(cycles_per_beat=4))
    (10960, 42157)
    """

    def __init__(self, rows: int, cols: int, dataflow: str = "ws", **options: Any) -> None:
        self.design = ArrayDesign(rows=rows, cols=cols, dataflow=dataflow, **options)

    def __repr__(self) -> str:
        return f"Array({self.design.name})"

    def cycles(self, m: int, k: int, n: int, *, port: MemoryPort | None = None, is_raw: bool = False) -> int:
        """Cycles of an [m,k] x [k,n] product, exactly as the circuit counts them. is_raw: int32 results."""
        return cycles(self.design, m, k, n, port=port or MemoryPort(), is_raw=is_raw)

    def simulate(
        self, a: Int8, b: Int8, requantization: Requantization | None = None, *, port: MemoryPort | None = None,
        simulator: str = "fastest",
    ) -> Simulated:  # fmt: skip
        """The product of int8 a [m,k] and b [k,n] by the circuit itself; int32 without `requantization`.

        simulator: verilator, amaranth, or the faster one that is installed. Raises MissingExtra without the extra.
        """
        return self.simulate_many([(a, b, requantization)], port=port, simulator=simulator)[0]

    def simulate_many(
        self, jobs: Sequence[Job], *, port: MemoryPort | None = None, simulator: str = "fastest"
    ) -> list[Simulated]:
        """Products one after another on one circuit, which is made only once. Raises as `simulate`."""
        from aisys.rtl.simulation import compiled, step_by_step

        if simulator not in SIMULATORS:
            raise unknown_name("simulator", simulator, SIMULATORS)
        need("amaranth")
        if simulator == "verilator" and not compiled.is_installed():
            raise BadInput("verilator, make or a C++ compiler is not installed; use simulator='amaranth'")
        is_compiled = simulator != "amaranth" and compiled.is_installed()
        images = [image(self.design, *job) for job in jobs]
        port = port or MemoryPort()
        done = (compiled if is_compiled else step_by_step).run(self.design, images, port)
        return [
            Simulated(
                values=results(self.design, beats, (a.shape[0], b.shape[1]), is_raw=given is None), cycles=count,
                model_cycles=self.cycles(a.shape[0], *b.shape, port=port, is_raw=given is None),
            )
            for (a, b, given), (count, beats) in zip(jobs, done, strict=True)
        ]  # fmt: skip

    def verilog(self) -> str:
        """Verilog of the whole array; its top module is `self.module`. Raises MissingExtra without the extra."""
        return verilog(self.design)

    @property
    def module(self) -> str:
        return module_name(self.design)

    def place_and_route(
        self, chip: str = "ecp5-85k", *, goal_hz: float = 100e6, progress: Progress | None = None
    ) -> PlacedDesign:
        """Area and clock on an FPGA. Raises DoesNotFit, UnknownName, MissingExtra."""
        check_blocks(self.design, chip_of(chip))
        return place_and_route(self.verilog(), self.module, chip_of(chip), goal_hz=goal_hz, progress=progress)
