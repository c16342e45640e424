"""The steps that build partial mappings outwards: spread over units, loop in time, keep an operand, finish a level."""

from dataclasses import dataclass
from math import prod

import numpy as np

from aisys.cost.loop_nest.hierarchy import Level
from aisys.cost.loop_nest.partial import Ints, Partials, Step, pareto
from aisys.cost.loop_nest.space import Space
from aisys.cost.loop_nest.zeros import saved
from aisys.frozen import FrozenMap


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A space and what is decided before its tiles are.

    begins: the level where each operand lies as a whole. fanout: (level, fan-out dim) to the units to use and how many
    of them sum into the same output, 0 for any.
    """

    space: Space
    begins: FrozenMap[str, int]
    fanout: FrozenMap[tuple[int, str], tuple[int, int]]

    def first_visits(self, position: int, name: str) -> float:
        """Elements of an output at a level that begin at zero, over all its instances: no read and no fill.

        Instances that hold partial sums of the same element each begin their own.
        """
        operand = self.space.einsum.operand(name)
        if operand.role != "output":
            return 0.0
        copies = prod(max(1, summed) for (outer, _), (_, summed) in self.fanout.items() if outer < position)
        return prod(float(self.space.einsum.extents[d]) for d in operand.dims) * copies

    def unread(self, position: int, name: str, child: int) -> float:
        """Elements of an output that level `child` asks for without a read, as they begin at zero there."""
        levels = self.space.machine.levels
        if not self.space.children_begin:
            return self.first_visits(position, name)
        extra = (s for (p, _), (_, s) in self.fanout.items() if position <= p < child and not levels[p].can_reduce)
        return self.first_visits(position, name) * prod(max(1, s) for s in extra)


def start(space: Space) -> Partials:
    """One multiply-accumulate per tile: each takes one element of every operand from the level outside."""
    macs, left = float(space.einsum.num_macs), saved(space.einsum, space.machine.zeros)
    zero, all_macs = np.zeros(1), np.full(1, macs)
    columns = {"joule": np.full(1, macs * space.machine.mac_joule * left.done), "busy": all_macs * left.timed}
    columns |= {f"away:{o.name}": all_macs for o in space.einsum.operands}
    columns |= dict.fromkeys(("read", "written", "used", "above", "below"), zero)
    index = np.zeros((1, len(space.dims)), np.int64)
    return Partials(index, columns, np.zeros(1, np.int64), Step("start"))


def pruned(space: Space, table: Partials) -> Partials:
    """Without the rows that another row of the same tile equals or beats."""
    names = [n for n, v in table.columns.items() if len(v) and (v.max() != v.min())]
    keys = space.keys(table.index)
    if "loop" in table.columns:
        keys = keys + (table.columns["loop"].astype(np.int64) + 1) * prod(len(sizes) for sizes in space.sizes)
    rows = np.sort(pareto(keys, [table.columns[n] for n in names or ["joule"]]))
    return table.kept(rows)


def looped(space: Space, table: Partials, dims: tuple[int, ...]) -> Partials:
    """Every choice of loops in time over `dims`, none included."""
    dims = tuple(d for d in dims if len(space.sizes[d]) > 1)
    if not dims or not len(table):
        return table
    rows, index = np.arange(len(table)), table.index
    for d in dims:
        targets, counts = _multiples(space, d)
        repeats = counts[index[:, d]]
        offsets = np.repeat(np.cumsum(repeats) - repeats, repeats)
        place = np.arange(int(repeats.sum())) - offsets
        begin = np.concatenate(([0], np.cumsum(counts)))[index[:, d]]
        new = targets[np.repeat(begin, repeats) + place]
        rows, index = np.repeat(rows, repeats), np.repeat(index, repeats, axis=0)
        index[:, d] = new
    return table.next(rows, Step("for", dims=dims), index=index)


def _multiples(space: Space, d: int) -> tuple[Ints, Ints]:
    """Size indices that each size of dim d divides, one after the other, and how many each has."""
    sizes = space.sizes[d]
    divides = sizes[None, :] % sizes[:, None] == 0
    return np.nonzero(divides)[1].astype(np.int64), divides.sum(axis=1).astype(np.int64)


Choice = tuple[tuple[str, int, int], ...]
"""Loops over one fan-out dim: (fan-out dim, dim, factor) of each."""


def spreads(plan: Arrangement, position: int) -> list[tuple[str, list[Choice]]]:
    """The fan-out dims of a level, each with the choices that the arrangement allows."""
    space, level = plan.space, plan.space.machine.levels[position]
    moving = space.moves[space.einsum.output.name]
    found = []
    for (name, _), choices in zip(level.fanout.items(), space.spreads(level), strict=True):
        units, summed = plan.fanout.get((position, name), (0, 0))
        wanted = [c for c in choices if not units or prod(f for _, _, f in c) == units]
        found.append((name, [c for c in wanted if not summed or prod(f for _, d, f in c if d not in moving) == summed]))
    return found


def spread(plan: Arrangement, table: Partials, over: tuple[int, str], choices: list[Choice]) -> Partials:
    """Every choice of loops over the units of one fan-out dim of a level: over names both."""
    level = plan.space.machine.levels[over[0]]
    parts = [_spread_one(plan, table, level, choice) for choice in choices]
    return _stacked(table, parts, f"{level.name}.{over[1]}")


def _spread_one(plan: Arrangement, table: Partials, level: Level, choice: tuple[tuple[str, int, int], ...]) -> Partials:
    space, index, fits = plan.space, table.index.copy(), np.ones(len(table), bool)
    for _, d, factor in choice:
        sizes = space.sizes[d]
        wanted = sizes[index[:, d]] * factor
        found = np.minimum(np.searchsorted(sizes, wanted), len(sizes) - 1)
        fits &= sizes[found] == wanted
        index[:, d] = found
    rows = np.flatnonzero(fits)
    columns = {name: value[rows] for name, value in table.columns.items()}
    columns["busy"] = columns["busy"] / prod(f for _, _, f in choice)
    for operand in space.einsum.operands:
        shares = level.can_reduce if operand.role == "output" else level.can_multicast
        if shares:
            still = prod(f for _, d, f in choice if d not in space.moves[operand.name])
            columns[f"away:{operand.name}"] = columns[f"away:{operand.name}"] / still
    return table.next(
        rows, Step("spread", level.name, tuple(d for _, d, _ in choice)), index=index[rows], columns=columns
    )


def _stacked(table: Partials, parts: list[Partials], over: str) -> Partials:
    """Tables of the same step, one under the other."""
    parts = parts or [table.kept(np.zeros(0, np.int64))]
    columns = {name: np.concatenate([p.columns[name] for p in parts]) for name in table.columns}
    index, origin = np.concatenate([p.index for p in parts]), np.concatenate([p.origin for p in parts])
    return Partials(index, columns, origin, Step("spread", over), table)


def keep(plan: Arrangement, table: Partials, position: int, name: str) -> Partials:
    """The level holds the tile of `name`: it serves what the inner side asks, and asks the outside for tiles."""
    space = plan.space
    level, operand = space.machine.levels[position], space.einsum.operand(name)
    bits, is_output = level.bits(operand), operand.role == "output"
    elements = space.elements(operand, table.index)
    asked, tiles = table.columns[f"away:{name}"], elements * space.num_tiles(table.index)
    has_outer = plan.begins[name] < position
    first = plan.first_visits(position, name)
    drained = tiles if is_output and has_outer else 0.0
    filled = tiles - first if has_outer else 0.0
    left = space.machine.saved(space.einsum, position, operand)
    served = asked - plan.unread(position, name, table.child(name))
    read = drained if space.machine.reads_on_drain else 0.0
    updated = asked if is_output else np.zeros(len(table))
    joule = read * level.read_joule_per_bit + filled * level.write_joule_per_bit
    joule = joule + left.done * (served * level.read_joule_per_bit + updated * level.update_joule_per_bit)
    columns = {
        f"away:{name}": tiles if has_outer else np.zeros(len(table)),
        "read": table.columns["read"] + bits * (read + served * left.timed),
        "written": table.columns["written"] + bits * (filled + updated * left.timed),
        "joule": table.columns["joule"] + bits * joule,
        "used": table.columns["used"] + bits * elements,
    }
    held = table.changed(Step("keep", name, level=position), **columns)
    return held.kept(np.flatnonzero(held.columns["used"] <= level.capacity_bits))


def finished(space: Space, table: Partials, position: int) -> Partials:
    """The level is complete: what its ports move becomes cycles."""
    level = space.machine.levels[position]
    read, written = table.columns["read"], table.columns["written"]
    reading, writing = read / level.read_bits_per_cycle, written / level.write_bits_per_cycle
    cycles = reading + writing if level.has_shared_port else np.maximum(reading, writing)
    zero = np.zeros(len(table))
    return table.changed(
        Step("finish"), busy=np.maximum(table.columns["busy"], cycles), read=zero, written=zero, used=zero
    )  # fmt: skip
