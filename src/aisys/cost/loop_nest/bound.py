"""What every mapping costs at least, so that an inner nest that cannot lead to a better one is dropped early.

Whatever lies outside an inner nest, what the nest asks for has to come from some level, at best from the cheapest one,
and every element has to cross the port of the level where it begins once (compulsory traffic).
"""

from dataclasses import dataclass, field
from functools import cached_property
from math import inf, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.cost.loop_nest.arrange import Arrangement
from aisys.cost.loop_nest.einsum import Operand
from aisys.cost.loop_nest.partial import INNERMOST, Partials

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bound:
    """Lower bounds for the rows of one arrangement, and the mappings `known` so far: (joule, cycles) of each."""

    plan: Arrangement
    known: list[tuple[float, float]] = field(default_factory=list)
    limit: "Any" = None

    def at_least(self, table: Partials, position: int) -> tuple[Floats, Floats]:
        """Joule and cycles of the best mapping that any row can lead to; levels up to `position` are unfinished."""
        space = self.plan.space
        columns = table.columns
        joule = columns["joule"]
        for operand in space.einsum.operands:
            joule = joule + self._supply(operand, columns[f"away:{operand.name}"], position)
        cycles = np.maximum(columns["busy"] / self._units[position], self._port_cycles)
        return joule, cycles

    def hopeful(self, table: Partials, position: int) -> NDArray[np.bool_]:
        """Rows that may still lead to a mapping that no known one equals or beats in both energy and cycles."""
        joule, cycles = self.at_least(table, position)
        keep = np.ones(len(table), bool)
        if self.limit is not None:
            keep &= self.limit.hopeful(joule, cycles)
        for known_joule, known_cycles in self.known:
            keep &= (joule < known_joule * (1 - 1e-12)) | (cycles < known_cycles * (1 - 1e-12))
        return keep

    @cached_property
    def _units(self) -> list[float]:
        """Per level, the most units over which what lies inside can still be divided."""
        levels, fanout = self.plan.space.machine.levels, self.plan.fanout
        units = [
            prod(fanout.get((p, fan), (0, 0))[0] or extent for fan, extent in level.fanout.items())
            for p, level in enumerate(levels)
        ]
        return [float(prod(units[: p + 1])) for p in range(len(levels))]

    @cached_property
    def _port_cycles(self) -> float:
        """Cycles that the outermost port needs for the compulsory traffic."""
        space, top = self.plan.space, self.plan.space.machine.levels[0]
        moved = {"input": 0.0, "weight": 0.0, "output": 0.0}
        for operand in space.einsum.operands:
            if self.plan.begins[operand.name] == 0:
                moved[operand.role] += self._size(operand) * top.bits(operand)
        reading = (moved["input"] + moved["weight"]) / top.read_bits_per_cycle
        writing = moved["output"] / top.write_bits_per_cycle
        return reading + writing if top.has_shared_port else max(reading, writing)

    def _size(self, operand: Operand) -> float:
        return float(operand.elements(self.plan.space.einsum.extents))

    def _supply(self, operand: Operand, asked: Floats, position: int) -> Any:
        """Joule of bringing `asked` elements (or taking them away) from the cheapest level outside, and filling it."""
        space, begins, size = self.plan.space, self.plan.begins[operand.name], self._size(operand)
        least = np.maximum(asked / self._shared(operand, position), size)
        least = np.where(asked > 0, least, 0.0)
        best: Any = np.full(len(asked), inf)
        for p in range(begins, position + 1):
            level = space.machine.levels[p]
            if operand.role not in level.keeps:
                continue
            best = np.minimum(
                best, self._served(operand, p, least, size) + (0.0 if p == begins else self._fill(operand, p, size))
            )
        return np.where(asked > 0, np.where(np.isfinite(best), best, 0.0), 0.0)

    def _served(self, operand: Operand, position: int, asked: Floats, size: float) -> Any:
        level = self.plan.space.machine.levels[position]
        bits = level.bits(operand) * self.plan.space.machine.saved(self.plan.space.einsum, position, operand).done
        if operand.role != "output":
            return bits * asked * level.read_joule_per_bit
        first = self.plan.unread(position, operand.name, INNERMOST)
        again = np.maximum(asked - first, 0.0)
        return bits * (again * level.read_joule_per_bit + asked * level.update_joule_per_bit)

    def _fill(self, operand: Operand, position: int, size: float) -> float:
        """Joule of moving the whole operand once between level `position` and the one where it begins."""
        space = self.plan.space
        level, outer = space.machine.levels[position], space.machine.levels[self.plan.begins[operand.name]]
        if operand.role != "output":
            return size * (
                level.bits(operand) * level.write_joule_per_bit + outer.bits(operand) * outer.read_joule_per_bit
            )
        drain = level.read_joule_per_bit * level.bits(operand) if space.machine.reads_on_drain else 0.0
        return size * (drain + outer.bits(operand) * outer.update_joule_per_bit)

    def _shared(self, operand: Operand, position: int) -> float:
        """The most units outside that can share what one unit asks for."""
        machine, is_output = self.plan.space.machine, operand.role == "output"
        return float(
            prod(
                extent
                for level in machine.levels[: position + 1]
                for name, extent in level.fanout.items()
                if machine.shares(f"{level.name}.{name}", is_output=is_output)
                and level.reuse.get(name, operand.role) == operand.role
            )
        )
