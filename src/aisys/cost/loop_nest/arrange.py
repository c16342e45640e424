"""The steps that build partial mappings outwards: spread over units, loop in time, keep an operand, finish a level."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from aisys.cost.loop_nest.partial import Columns, Ints, Partials, Step, pareto
from aisys.cost.loop_nest.reuse import ASKING, FUTURES, SERVED, copied, fanned, served_still, staying, stepped
from aisys.cost.loop_nest.space import Choice, Space
from aisys.cost.loop_nest.zeros import saved
from aisys.frozen import FrozenMap

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Arrangement:
    """A space and what is decided before its tiles are.

    begins: the level where each operand lies as a whole. fanout: (level, fan-out dim) to the units to use and how many
    of them sum into the same output, 0 for any.
    """

    space: Space
    begins: FrozenMap[str, int]
    fanout: FrozenMap[tuple[int, str], tuple[int, int]]

    @cached_property
    def spreads(self) -> tuple[tuple[tuple[str, tuple[Choice, ...]], ...], ...]:
        """Per level, its fan-out dims, each with the choices that the arrangement allows."""
        space = self.space
        moving = space.moves[space.einsum.output.name]
        found = []
        for position, level in enumerate(space.machine.levels):
            own = []
            for name, choices in zip(level.fanout, space.spreads[position], strict=True):
                units, summed = self.fanout.get((position, name), (0, 0))
                wanted = [c for c in choices if not units or prod(f for _, _, f in c) == units]
                fits = [c for c in wanted if not summed or prod(f for _, d, f in c if d not in moving) == summed]
                own.append((name, tuple(fits)))
            found.append(tuple(own))
        return tuple(found)

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
    columns = {"joule": np.full(1, macs * space.machine.mac_joule * left.done), "busy": zero}
    columns["steps"] = all_macs * left.timed
    columns |= {f"away:{o.name}": all_macs for o in space.einsum.operands}
    columns |= dict.fromkeys(("read", "written", "used", "waiting", "above", "below"), zero)
    columns |= {last_of(name, d): np.ones(1) for name, d in counted(space, len(space.machine.levels))}
    index = np.zeros((1, len(space.dims)), np.int64)
    return Partials(index, columns, np.zeros(1, np.int64), Step("start"))


def last_of(name: str, d: int) -> str:
    """The column that says what the last tile of dim d, cut off, asks for or takes, relative to the others."""
    return f"last:{name}:{d}"


def counted(space: Space, pending: int) -> Iterator[tuple[str, int]]:
    """Counts (`steps`, or `away:` an operand) and uneven dims whose last tile matters to a fan-out of levels[:pending].

    It matters where units share what they ask for, or the time that they take: then the first unit speaks for all.
    """
    for level in space.machine.levels[:pending]:
        for _, free in space.fanouts(level):
            yield from (("steps", d) for d in free if d in space.uneven)
            for operand in space.einsum.operands:
                shares = level.can_reduce if operand.role == "output" else level.can_multicast
                still = [d for d in free if d in space.uneven and d not in space.moves[operand.name]]
                yield from ((f"away:{operand.name}", d) for d in still if shares)


def settled(space: Space, table: Partials, pending: int) -> Partials:
    """Without what only fan-outs that are done needed."""
    needed = {last_of(*one) for one in counted(space, pending)}
    columns = {n: v for n, v in table.columns.items() if not n.startswith("last:") or n in needed}
    return Partials(table.index, columns, table.origin, table.step, table.inner)


def pruned(space: Space, table: Partials, position: int, floor: float = 0.0) -> Ints:
    """The rows that no other row of the same tile equals or beats, whatever stands outside.

    Tiles are the same if they are so once dims that act alike trade places. position: the level that is being arranged;
    floor: cycles that every nest needs, so that less is worth nothing.
    """
    keys, columns = space.keys(table.index), table.columns
    if space.alike:
        others = table.index[:, space.alike]
        turned = space.keys(others)
        is_turned = turned < keys
        keys = np.where(is_turned, turned, keys)
        index = np.where(is_turned[:, None], others, table.index)
        columns = {name: _turned(space, columns, name, is_turned) for name in columns}
        table = Partials(index, columns, table.origin, table.step, table.inner)
    if "loop" in columns:
        keys = keys + (columns["loop"].astype(np.int64) + 1) * prod(len(sizes) for sizes in space.sizes)
    for column in (column for name, column in columns.items() if name.startswith(FUTURES) and column.any()):
        keys = keys * (SERVED + 1) + column.astype(np.int64)
    fanned = [column for name, column in columns.items() if name.startswith("fan:") and column.any()]
    if fanned:
        keys = np.unique(np.stack([keys, *fanned], axis=1), axis=0, return_inverse=True)[1].ravel()
    compared = list(_compared(space, table, position, floor))
    varied = [column for column in compared if column.max() != column.min()]
    return np.sort(pareto(keys, varied or compared[:1]))


def _turned(space: Space, columns: Columns, name: str, is_turned: NDArray[np.bool_]) -> Floats:
    """A column once dims that act alike have traded places in some rows."""
    kind, _, dim = name.rpartition(":")
    if not name.startswith(("last:", "fan:")):
        return columns[name]
    return np.where(is_turned, columns[f"{kind}:{space.alike[int(dim)]}"], columns[name])


def _compared(space: Space, table: Partials, position: int, floor: float) -> Iterator[Floats]:
    """Columns in which every later cost grows.

    A count of tiles with last ones is a sum over dims of full tiles or a last one, so each such product is compared.
    """
    columns, level = table.columns, space.machine.levels[position]
    reading, writing = columns["read"] / level.read_bits_per_cycle, columns["written"] / level.write_bits_per_cycle
    yield from (columns["joule"], columns["used"], columns["waiting"])
    yield from (reading + writing,) if level.has_shared_port else (reading, writing)
    is_even = not any(name.startswith("last:steps") for name in columns)
    yield np.maximum(np.maximum(columns["busy"], columns["steps"] if is_even else 0.0), floor)
    for name in columns:
        if name.startswith("once:"):
            yield columns[name]
        if name.startswith("away:") or (name == "steps" and not is_even) or name in ("above", "below", "loop"):
            yield from _products(space, table, name)


def _products(space: Space, table: Partials, name: str) -> list[Floats]:
    """One column, or what it is made of where last tiles matter to it."""
    products = [table.columns[name]]
    for d in space.uneven:
        last = table.columns.get(last_of(name, d))
        if last is not None:
            num, _ = space.parts(table.index, d)
            products = [p / (num - 1 + last) for p in products]
            products += [p * last for p in products] if last.min() < 1 else []
    return products


def looped(space: Space, table: Partials, d: int, *, is_whole: bool = False) -> Partials:
    """Every loop in time over dim d, none included; is_whole: only the one that covers all of it."""
    if len(space.sizes[d]) == 1 or not len(table):
        return table
    rows, index = np.arange(len(table)), table.index.copy()
    if is_whole:
        index[:, d] = len(space.sizes[d]) - 1
    else:
        targets, counts = _multiples(space, d)
        repeats = counts[index[:, d]]
        place = np.arange(int(repeats.sum())) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        begin = np.concatenate(([0], np.cumsum(counts)))[index[:, d]]
        rows, index = np.repeat(rows, repeats), np.repeat(index, repeats, axis=0)
        index[:, d] = targets[np.repeat(begin, repeats) + place]
    columns = {name: value[rows] for name, value in table.columns.items()}
    grown = _grown(space, columns, table.index[rows], (index, (d,)), lambda name: False)
    return stepped(space, table.next(rows, Step("for", dims=(d,)), index=index, columns=grown))


def whole(space: Space, table: Partials, dims: Sequence[int]) -> Partials:
    """The rows whose tiles cover all of `dims`."""
    full = np.array([len(sizes) - 1 for sizes in space.sizes])
    rows = np.flatnonzero((table.index[:, dims] == full[dims]).all(axis=1))
    return table if len(rows) == len(table) else table.kept(rows)


def _multiples(space: Space, d: int) -> tuple[Ints, Ints]:
    """Indices of the sizes that are made of each size of dim d, one after the other, and how many each has."""
    contained = space.contained[d]
    return np.nonzero(contained)[1].astype(np.int64), contained.sum(axis=1).astype(np.int64)


def _grown(
    space: Space,
    columns: Mapping[str, Floats],
    before: Ints,
    after: tuple[Ints, tuple[int, ...]],
    is_shared: Callable[[str], bool],
) -> dict[str, Floats]:
    """The counts of tiles once these have grown along dims; where a loop is shared, only its first tile counts."""
    found = dict(columns)
    index, dims = after
    for name in [n for n in columns if n == "steps" or n.startswith("away:")]:
        for d in dims:
            if d in space.moves.get(name.removeprefix("away:"), ()):
                continue
            last, num = columns.get(last_of(name, d)), space.counts[d][before[:, d]]
            is_slow = is_shared(name)
            if last is None and not is_slow:
                continue
            left, factor = space.counts[d][index[:, d]], space.ratio(before, index, d)
            in_last = num - (left - 1) * factor
            own = np.ones(len(num)) if last is None else last
            new = np.where(in_last > 1, 1.0, own) if is_slow else (in_last - 1 + own) / factor
            if last is not None:
                found[last_of(name, d)] = new
            if is_slow:
                found[name] = found[name] * ((left - 1 + new) / (num - 1 + own))
    return found


def spread(plan: Arrangement, table: Partials, over: tuple[int, str], choices: Sequence[Choice]) -> Partials:
    """Every choice of loops over the units of one fan-out dim of a level: over names both."""
    space, level = plan.space, plan.space.machine.levels[over[0]]
    factors = np.ones((len(choices), len(space.dims)), np.int64)
    for row, choice in enumerate(choices):
        for _, d, factor in choice:
            factors[row, d] = factor
    rows, chosen, index = _reached(space, table.index, factors)
    columns = {name: value[rows] for name, value in table.columns.items()}
    units = factors.prod(axis=1)[chosen]
    columns |= {name: columns[name] / units for name in ("busy", "waiting")}
    shared = {"steps"}
    for operand in space.einsum.operands:
        if level.can_reduce if operand.role == "output" else level.can_multicast:
            shared.add(f"away:{operand.name}")
    dims = tuple(d for d in range(len(space.dims)) if (factors[:, d] > 1).any())
    grown = _grown(space, columns, table.index[rows], (index, dims), shared.__contains__)
    if level.can_multicast:
        grown |= fanned(space, columns, table.index[rows], factors[chosen])
    grown |= copied(space, columns | grown, factors[chosen], (columns, shared))
    return table.next(rows, Step("spread", f"{level.name}.{over[1]}", dims), index=index, columns=grown)


def _reached(space: Space, index: Ints, factors: Ints) -> tuple[Ints, Ints, Ints]:
    """Rows, choices and new tiles, where the factors of a choice make a tile of the space from that of a row."""
    fits = np.ones((len(index), len(factors)), bool)
    targets: dict[int, Ints] = {}
    for d in range(len(space.dims)):
        targets[d] = space.reached[d][np.searchsorted(space.factors[d], factors[:, d])].T
        fits &= (targets[d] >= 0)[index[:, d]]
    rows, chosen = np.nonzero(fits)
    new = np.stack([targets[d][index[rows, d], chosen] for d in targets], axis=1)
    return rows.astype(np.int64), chosen.astype(np.int64), new


def served(plan: Arrangement, table: Partials, position: int, names: Sequence[str]) -> Partials:
    """The level serves what the inner side asks of the named operands; what it asks outwards waits for `hold`."""
    space = plan.space
    level, columns = space.machine.levels[position], dict(table.columns)
    for name in names:
        operand, asked = space.einsum.operand(name), columns[f"away:{name}"]
        bits, left = level.bits(operand), space.machine.saved(space.einsum, position, operand)
        read = asked - plan.unread(position, name, table.child(name))
        updated = asked if operand.role == "output" else np.zeros(len(table))
        joule = bits * left.done * (read * level.read_joule_per_bit + updated * level.update_joule_per_bit)
        columns["joule"] = columns["joule"] + joule
        columns["read"] = columns["read"] + bits * left.timed * read
        columns["written"] = columns["written"] + bits * left.timed * updated
        columns[f"away:{name}"] = np.where(asked > 0, space.least(operand), 0.0)
        if f"still:{name}" in columns:
            columns |= served_still(space, table, operand, joule)
    return table.changed(Step("serve"), **columns)


def hold(plan: Arrangement, table: Partials, position: int, name: str) -> Partials:
    """The level holds the tile of `name`, which it serves, and asks the outside for tiles.

    A tile that no loop in time outside moves stays, and comes once. So does one that covers all of its dims; others may
    be said to stay, where the units outside could hold all of them, and then only such loops follow (`stepped`). Each
    stays in as many copies as units outside want the same, which `spread` counts; writing them is taken to last as long
    as writing one.
    """
    space = plan.space
    level, operand = space.machine.levels[position], space.einsum.operand(name)
    bits, has_outer = level.bits(operand), plan.begins[name] < position
    rows, stays = staying(space, table, position, operand) if has_outer else (np.arange(len(table)), np.bool_(False))
    index, columns = table.index[rows], {n: column[rows] for n, column in table.columns.items()}
    tiles, first, zero = space.fetched(operand, index), plan.first_visits(position, name), np.zeros(len(rows))
    tiles = np.where(stays, first if operand.role == "output" else space.brought(operand, index), tiles)
    filled = tiles - first if has_outer else zero
    drained = tiles if has_outer and operand.role == "output" else zero
    read = drained if space.machine.reads_on_drain else zero
    refilling = filled / level.write_bits_per_cycle + drained / level.read_bits_per_cycle
    moving = bits * (read * level.read_joule_per_bit + filled * level.write_joule_per_bit)
    columns |= {
        f"away:{name}": tiles if has_outer else zero, "joule": columns["joule"] + moving,
        "read": columns["read"] + bits * read, "written": columns["written"] + bits * filled,
        "used": columns["used"] + bits * space.elements(operand, index),
        "waiting": columns["waiting"] + (0.0 if level.is_double_buffered else bits * refilling),
    }  # fmt: skip
    if has_outer:
        once = columns.get(f"once:{name}", zero)
        columns |= {f"still:{name}": np.where(stays, ASKING, 0.0), f"once:{name}": once + np.where(stays, moving, 0.0)}
    columns |= {n: np.ones(len(rows)) for n in table.columns if n.startswith(f"last:away:{name}:")}
    held = table.next(rows, Step("keep", name, level=position), index=index, columns=columns)
    return held.kept(np.flatnonzero(held.columns["used"] <= level.capacity_bits))


def keep(plan: Arrangement, table: Partials, position: int, name: str) -> Partials:
    """The level holds the tile of `name` and serves it."""
    return hold(plan, served(plan, table, position, (name,)), position, name)


def finished(space: Space, table: Partials, position: int) -> Partials:
    """The level is complete: what its ports move becomes cycles. With the outermost one, what leaks is known too."""
    level = space.machine.levels[position]
    read, written = table.columns["read"], table.columns["written"]
    reading, writing = read / level.read_bits_per_cycle, written / level.write_bits_per_cycle
    cycles = reading + writing if level.has_shared_port else np.maximum(reading, writing)
    zero = np.zeros(len(table))
    busy = np.maximum(table.columns["busy"], cycles)
    if position:
        return table.changed(Step("finish"), busy=busy, read=zero, written=zero, used=zero)
    busy = np.maximum(busy, table.columns["steps"]) + table.columns["waiting"]
    joule = table.columns["joule"] + space.machine.leak_joule_per_cycle * busy
    return table.changed(Step("finish"), busy=busy, joule=joule, read=zero, written=zero, used=zero, waiting=zero)
