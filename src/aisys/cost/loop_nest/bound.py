"""What every mapping costs at least, so that an inner nest that cannot lead to a better one is dropped early.

Whatever lies outside an inner nest, what the nest asks for has to come from some level, at best from the cheapest one,
and every element has to cross the port of the level where it begins once (compulsory traffic).
"""

from dataclasses import dataclass, field
from functools import cached_property
from math import prod, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aisys.cost.loop_nest.arrange import Arrangement, last_of, start
from aisys.cost.loop_nest.einsum import Operand
from aisys.cost.loop_nest.partial import INNERMOST, Partials
from aisys.cost.loop_nest.space import Choice
from aisys.cost.loop_nest.unit_steps import least_steps, widest

Floats = NDArray[np.float64]
Objective = Literal["energy", "latency", "edp"]
Offers = tuple[float, float, tuple[tuple[float, float, float, float], ...]]
_LESS = 1 - 1e-12
"""Below a cost times this, another is less; between the two they are one, rounded differently."""


def ranked(cost: tuple[Any, Any], goal: Objective) -> tuple[Any, Any]:
    """What a goal compares first of (joule, cycles), and what decides between equals."""
    joule, cycles = cost
    return {"energy": (joule, cycles), "latency": (cycles, joule), "edp": (joule * cycles, joule)}[goal]


@dataclass(frozen=True)
class Bound:
    """Lower bounds for the rows of one arrangement, and the mappings `known` so far: (joule, cycles) of each.

    goal: what the one wanted mapping has the least of; without one, all that no other beats in energy and cycles.
    """

    plan: Arrangement
    known: list[tuple[float, float]] = field(default_factory=list)
    limit: "Any" = None
    goal: Objective | None = None
    wide: dict[int, Floats] = field(default_factory=dict)
    offers: dict[tuple[str, int, int], Offers] = field(default_factory=dict)
    shares: dict[tuple[str, int], float] = field(default_factory=dict)

    def at_least(self, table: Partials, position: int, pending: int) -> tuple[Floats, Floats]:
        """Joule and cycles of the best mapping that any row can lead to.

        Levels up to `position` may still keep something, and the fan-outs of the first `pending` levels are open; with
        none pending the rows are finished, and hold what leaks.
        """
        space = self.plan.space
        columns = table.columns
        joule = columns["joule"]
        for operand in space.einsum.operands:
            joule = joule + self._supply(operand, columns[f"away:{operand.name}"], (position, pending))
        cycles = np.maximum(columns["busy"] / self._units[pending], self._port_cycles)
        for operand in space.einsum.operands:
            cycles = np.maximum(cycles, columns[f"away:{operand.name}"] * self._cycles_each(operand, position, pending))
        cycles = np.maximum(cycles, self._steps(table, pending)) + columns["waiting"] / self._units[pending]
        return joule + (space.machine.leak_joule_per_cycle * cycles if pending else 0.0), cycles

    def _cycles_each(self, operand: Operand, position: int, pending: int) -> float:
        """Cycles per element asked for, at the level that serves it fastest with all its instances."""
        space = self.plan.space
        found = []
        for p in range(self.plan.begins[operand.name], position + 1):
            level, is_output = space.machine.levels[p], operand.role == "output"
            if operand.role in level.keeps:
                rate = level.write_bits_per_cycle if is_output else level.read_bits_per_cycle
                timed = space.machine.saved(space.einsum, p, operand).timed
                shared = self._shared(operand, pending) / self._shared(operand, min(p, pending))
                found.append(level.bits(operand) * timed / rate / shared / space.machine.num_instances(p))
        return min(found, default=0.0)

    def _steps(self, table: Partials, pending: int) -> Floats:
        """Steps of the arithmetic, if the open fan-outs take the factors that suit each row best."""
        space = self.plan.space
        parts = np.ones((2, *table.index.shape))
        for d, num in enumerate(space.counts):
            parts[0, :, d] = num[table.index[:, d]]
            last = table.columns.get(last_of("steps", d))
            if last is not None:
                parts[1, :, d] = last
        found = np.empty(len(table.index))
        least_steps(table.columns["steps"], table.index, parts, self._widest(pending), found)
        return found

    def _widest(self, pending: int) -> Floats:
        """Whole tiles before the last one, [dims, sizes, choices], for every choice of the open fan-outs."""
        if pending not in self.wide:
            space, num_dims = self.plan.space, len(self.plan.space.dims)
            open_fanouts = (own for level in self.plan.spreads[:pending] for _, own in level)
            choices = [[_vector(choice, num_dims) for choice in own] for own in open_fanouts]
            factors = widest(choices, num_dims, tuple(space.einsum.extents.values()))
            found = np.zeros((num_dims, max(map(len, space.counts)), len(factors)))
            for d, num in enumerate(space.counts):
                found[d, : len(num)] = -(-num[:, None] // factors[None, :, d]) - 1
            self.wide[pending] = found
        return self.wide[pending]

    @cached_property
    def floor_cycles(self) -> float:
        """Cycles of every nest of the arrangement."""
        levels = len(self.plan.space.machine.levels)
        return float(self.at_least(start(self.plan.space), levels - 1, levels)[1][0])

    def hopeful(self, table: Partials, position: int, pending: int) -> NDArray[np.bool_]:
        """Rows that may still lead to a mapping that beats every known one in energy, in cycles, or in the goal."""
        joule, cycles = self.at_least(table, position, pending)
        keep = np.ones(len(table), bool)
        if self.limit is not None:
            keep &= self.limit.hopeful(joule, cycles)
        if self.goal is not None:
            keep &= self._betters(joule, cycles, self.goal)
            return keep
        for known_joule, known_cycles in self.known:
            keep &= (joule < known_joule * _LESS) | (cycles < known_cycles * _LESS)
        return keep

    def _betters(self, joule: Floats, cycles: Floats, goal: Objective) -> Any:
        """Rows below the best known mapping in the goal, or equal and below it in the other of the two."""
        if not self.known:
            return True
        best_joule, best_cycles = min(self.known, key=lambda pair: ranked(pair, goal))
        if goal == "edp":
            return joule * cycles < best_joule * best_cycles * _LESS
        first, best_first = (joule, best_joule) if goal == "energy" else (cycles, best_cycles)
        second, best_second = (cycles, best_cycles) if goal == "energy" else (joule, best_joule)
        return (first < best_first * _LESS) | ((first <= best_first / _LESS) & (second < best_second * _LESS))

    @cached_property
    def _units(self) -> list[float]:
        """Per number of levels with open fan-outs, the most units over which what lies inside can be divided."""
        levels, fanout = self.plan.space.machine.levels, self.plan.fanout
        units = [
            prod(fanout.get((p, fan), (0, 0))[0] or extent for fan, extent in level.fanout.items())
            for p, level in enumerate(levels)
        ]
        return [float(prod(units[:p])) for p in range(len(levels) + 1)]

    @cached_property
    def _port_cycles(self) -> float:
        """Cycles that the outermost port needs for the compulsory traffic."""
        space, top = self.plan.space, self.plan.space.machine.levels[0]
        moved = {"input": 0.0, "weight": 0.0, "output": 0.0}
        for operand in space.einsum.operands:
            if self.plan.begins[operand.name] == 0:
                moved[operand.role] += self.plan.space.least(operand) * top.bits(operand)
        reading = (moved["input"] + moved["weight"]) / top.read_bits_per_cycle
        writing = moved["output"] / top.write_bits_per_cycle
        return reading + writing if top.has_shared_port else max(reading, writing)

    def _supply(self, operand: Operand, asked: Floats, place: tuple[int, int]) -> Any:
        """Joule of bringing `asked` elements (or taking them away) from the cheapest level outside, and filling it."""
        if (operand.name, *place) not in self.offers:
            self.offers[operand.name, *place] = self._offered(operand, *place)
        share, size, offers = self.offers[operand.name, *place]
        least = np.maximum(asked / share, size)
        costs = [read * np.maximum(least - first, 0.0) + update * least + fill for read, first, update, fill in offers]
        return np.where(asked > 0, np.min(costs, axis=0), 0.0) if costs else 0.0

    def _offered(self, operand: Operand, position: int, pending: int) -> Offers:
        """What `_supply` needs: units that may share, elements to bring at least, and the levels that may serve."""
        space, begins, size = self.plan.space, self.plan.begins[operand.name], self.plan.space.least(operand)
        found = []
        for p in range(begins, position + 1):
            level = space.machine.levels[p]
            if operand.role not in level.keeps:
                continue
            is_output = operand.role == "output"
            bits = level.bits(operand) * space.machine.saved(space.einsum, p, operand).done
            first = self.plan.unread(p, operand.name, INNERMOST) if is_output else 0.0
            update = bits * level.update_joule_per_bit if is_output else 0.0
            fill = 0.0 if p == begins else self._fill(operand, p, size)
            found.append((bits * level.read_joule_per_bit, first, update, fill))
        return self._shared(operand, pending), size, tuple(dict.fromkeys(found))

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

    def _shared(self, operand: Operand, pending: int) -> float:
        if (operand.name, pending) not in self.shares:
            self.shares[operand.name, pending] = self._most_shared(operand, pending)
        return self.shares[operand.name, pending]

    def _most_shared(self, operand: Operand, pending: int) -> float:
        """The most units of open fan-outs that can share what one unit asks for.

        Units that a window is spread over share along diagonals: of a x b tiles, a + b - 1 at least are different.
        """
        machine, is_output = self.plan.space.machine, operand.role == "output"
        has_window = any(name == operand.name for name, _ in self.plan.space.windows)
        found = 1.0
        for level in machine.levels[:pending]:
            wide = {n: e for n, e in level.fanout.items() if machine.shares(f"{level.name}.{n}", is_output=is_output)}
            own = prod(e for n, e in wide.items() if level.reuse.get(n, operand.role) == operand.role)
            left = prod(wide.values()) / own
            found *= own * (left / (2 * sqrt(left) - 1) if has_window else 1.0)
        return found


def _vector(choice: Choice, num_dims: int) -> tuple[int, ...]:
    factors = [1] * num_dims
    for _, d, factor in choice:
        factors[d] = factor
    return tuple(factors)
