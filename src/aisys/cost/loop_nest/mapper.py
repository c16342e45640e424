"""The best mappings of an einsum on a machine, with the proof: what was explored, what was dropped, and the bound.

Nests are built from the arithmetic units outwards (`arrange`), once per choice of who is kept where, and of several
inner nests with the same tile only those survive that are best in something (`partial`). Nothing is sampled.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from math import inf, prod

import numpy as np
from numpy.typing import NDArray

from aisys.cost.loop_nest.arrange import (
    Arrangement,
    finished,
    hold,
    keep,
    looped,
    pruned,
    served,
    settled,
    spread,
    start,
    whole,
)  # fmt: skip
from aisys.cost.loop_nest.bound import Bound, Objective, ranked
from aisys.cost.loop_nest.partial import Partials, Step, pareto
from aisys.cost.loop_nest.reuse import overlapped, stepped, wide, widest
from aisys.cost.loop_nest.space import Space, orders
from aisys.frozen import FrozenMap

Floats = NDArray[np.float64]

BEAMS = ((32, 4), (0, 0))
"""Rows a step that each search goes on with, and arrangements, those of the least bound; 0 for all.

Narrow searches find good mappings, which the last one proves or betters.
"""

LATE_ROWS = 512
"""Rows a step that the last search goes on with once it has looked at as many nests as it may."""


@dataclass(frozen=True, slots=True, eq=False)
class Front:
    """Nests of a space, none of which is beaten in both energy and cycles by another: nest i is a table and its row.

    explored, pruned: partial nests that the proof looked at, and those that it dropped. is_whole: nothing was dropped
    without a reason, so there is none better. bound_joule, bound_cycles: what
    any mapping needs at least (compulsory traffic, every unit busy).
    """

    nests: tuple[tuple[Partials, int], ...]
    joule: Floats
    cycles: Floats
    explored: int
    pruned: int
    bound_joule: float
    bound_cycles: float
    is_whole: bool = True


def front(
    space: Space, begins: FrozenMap[str, int] | None = None, goal: Objective | None = None, most_nests: float = inf
) -> Front:
    """Every mapping of the space that no other beats in both energy and cycles; with a goal, the best for it.

    begins: see `Arrangement`. Narrow searches find good mappings; the full one drops what cannot beat them, and so
    proves or betters them. Once it has looked at `most_nests`, it is narrow as well.
    """
    last = len(space.machine.levels) - 1
    known: list[tuple[float, float]] = []
    bounds = [Bound(plan, known, goal=goal) for plan in arrangements(space, begins)]
    first = [bound.at_least(start(space), last, last + 1) for bound in bounds]
    floors = [(float(joule[0]), float(cycles[0])) for joule, cycles in first]
    order = sorted(range(len(bounds)), key=lambda i: ranked(floors[i], goal or "edp"))
    best: list[Found] = []
    for beam, most in BEAMS:
        counts = {"explored": 0, "pruned": 0, "skipped": 0}
        searches = [Search(bounds[i], beam, most_nests, counts) for i in order[: most or None]]
        for table in (table for search in searches for table in nests(search)):
            best = _best(table, best)
            known[:] = [(joule, cycles) for _, _, joule, cycles in best]
    if goal is not None:
        best = sorted(best, key=lambda found: ranked(found[2:], goal))[:1]
    return Front(
        nests=tuple((table, row) for table, row, _, _ in best),
        joule=np.array([j for _, _, j, _ in best]), cycles=np.array([c for _, _, _, c in best]),
        explored=counts["explored"], pruned=counts["pruned"], is_whole=not counts["skipped"],
        bound_joule=min(joule for joule, _ in floors), bound_cycles=min(cycles for _, cycles in floors),
    )  # fmt: skip


Found = tuple[Partials, int, float, float]


def _best(table: Partials, known: list[Found]) -> list[Found]:
    """Complete nests, (table, row, joule, cycles) each, that no other beats."""
    if not len(table):
        return known
    rows = range(len(table))
    found = [*known, *((table, r, float(table.columns["joule"][r]), float(table.columns["busy"][r])) for r in rows)]
    best = pareto(np.zeros(len(found), np.int64), [np.array([f[2] for f in found]), np.array([f[3] for f in found])])
    return [found[i] for i in best]


def arrangements(space: Space, begins: FrozenMap[str, int] | None = None) -> Iterator[Arrangement]:
    """Every choice of how many units sum into one output outside a level that may hold it."""
    output = space.einsum.output
    units = filled_units(space) if space.is_filled else {}
    levels = space.machine.levels
    deepest = max(p for p, level in enumerate(levels) if output.role in level.keeps)
    names = [(p, fan) for p, level in enumerate(levels) for fan in level.fanout]
    sums = [_sums(space, p, fan) if p < deepest else (0,) for p, fan in names]
    begins = begins or FrozenMap({operand.name: 0 for operand in space.einsum.operands})
    for chosen in product(*sums):
        decided = {key: (units.get(key, 0), summed) for key, summed in zip(names, chosen, strict=True)}
        yield Arrangement(space, begins, FrozenMap(decided))


def _sums(space: Space, position: int, fan: str) -> tuple[int, ...]:
    choices = space.spreads[position][list(space.machine.levels[position].fanout).index(fan)]
    moving = space.moves[space.einsum.output.name]
    return tuple(sorted({prod(f for _, d, f in c if d not in moving) for c in choices}))


def filled_units(space: Space) -> dict[tuple[int, str], int]:
    """The most units that each fan-out dim can use, the outermost dim first."""
    extents = {tuple(space.einsum.extents[d] for d in space.dims)}
    units: dict[tuple[int, str], int] = {}
    fans = [(p, fan) for p, level in enumerate(space.machine.levels) for fan in level.fanout]
    choices = [one for level in space.spreads for one in level]
    for fan, options in zip(fans, choices, strict=True):
        best, left = 1, extents
        for choice in options:
            used = prod(f for _, _, f in choice)
            after = _without(extents, choice) if used >= best else set()
            if after:
                best, left = (used, after) if used > best else (best, left | after)
        units[fan], extents = best, left
    return units


def _without(extents: set[tuple[int, ...]], choice: tuple[tuple[str, int, int], ...]) -> set[tuple[int, ...]]:
    factors = {d: f for _, d, f in choice}
    return {
        tuple(e // factors.get(d, 1) for d, e in enumerate(left))
        for left in extents
        if all(left[d] % f == 0 for d, f in factors.items())
    }


@dataclass(frozen=True, slots=True)
class Search:
    """How the nests of an arrangement are searched: dropped against `bound`; `beam` rows a step, 0 for all.

    counts: rows explored, pruned with a reason, and skipped without one; once more than `most_nests` were explored,
    steps go on with LATE_ROWS rows.
    """

    bound: Bound
    beam: int = 0
    most_nests: float = inf
    counts: dict[str, int] = field(default_factory=lambda: {"explored": 0, "pruned": 0, "skipped": 0})

    @property
    def plan(self) -> Arrangement:
        """The arrangement that is searched."""
        return self.bound.plan

    def cut(self, table: Partials, position: int, pending: int | None = None) -> Partials:
        """The rows that are worth going on with, see `Bound`; without `pending` the fan-out of `position` is done."""
        pending = position if pending is None else pending
        hopeful = table.kept(np.flatnonzero(self.bound.hopeful(table, position, pending)))
        space, floor = self.plan.space, self.bound.floor_cycles
        best = hopeful.kept(pruned(space, hopeful, position, floor)) if len(hopeful) else hopeful
        self.counts["explored"] += len(table)
        self.counts["pruned"] += len(table) - len(best)
        beam = self.beam or (LATE_ROWS if self.counts["explored"] > self.most_nests else 0)
        if not beam or len(best) <= beam:
            return best
        self.counts["skipped"] += len(best) - beam
        first, second = ranked(self.bound.at_least(best, position, pending), self.bound.goal or "edp")
        return best.kept(np.lexsort((second, first))[:beam])

    def looped(
        self, table: Partials, dims: Sequence[int], position: int, later: Collection[int] | None = None
    ) -> Partials:
        """Every loop in time over `dims`, those that are worth it; dims that are not in `later` become whole."""
        for d in dims:
            is_whole = later is not None and d not in later
            table = self.cut(looped(self.plan.space, table, d, is_whole=is_whole), position)
        return table

    def widened(self, table: Partials, name: str, done: Sequence[int], position: int) -> Partials:
        """And those whose tile of `name` is so wide that the units outside can hold all of it, and it stays.

        To that end loops stand inside that would otherwise stand outside and make it smaller; not those over `done`.
        """
        space, operand = self.plan.space, self.plan.space.einsum.operand(name)
        level, most = space.machine.levels[position], space.machine.num_instances(position)
        room = level.capacity_bits / level.bits(operand)
        if operand.elements(space.einsum.extents) > room * most:
            return table
        for d in sorted(space.moves[name].difference(done)):
            grown = wide(space, looped(space, table, d), name, d)
            is_small = (space.counts[d][grown.index[:, d]] <= most) & (space.elements(operand, grown.index) <= room)
            rows = np.flatnonzero((grown.columns[f"wide:{name}"] == 0) | is_small)
            table = self.cut(grown.kept(rows), position)
        return widest(space, table, name, most)


def nests(search: Search) -> Iterator[Partials]:
    """The complete nests of an arrangement, one table per order of what the levels keep."""
    for table, inside in inner_nests(search, 0):
        yield _outermost(search, table, inside)


def inner_nests(search: Search, until: int) -> Iterator[tuple[Partials, str | None]]:
    """Tables of nests inside level `until`, whose fan-out is spread, and the operand that is kept just inside."""
    first = start(search.plan.space)
    yield from _outwards(search, first, (len(search.plan.space.machine.levels) - 1, until), None)


def _outwards(
    search: Search, table: Partials, span: tuple[int, int], inside: str | None
) -> Iterator[tuple[Partials, str | None]]:
    """Finish levels from span[0] outwards, as far as inside level span[1]."""
    space, (position, until) = search.plan.space, span
    for name, choices in search.plan.spreads[position]:
        table = search.cut(spread(search.plan, table, (position, name), choices), position, position + 1)
    if not len(table):
        return
    table = settled(space, overlapped(space, table), position)
    if position == until:
        yield table, inside
        return
    for placed in space.placements(position, search.plan.begins):
        asked = search.cut(served(search.plan, table, position, placed), position)
        for order in orders(placed):
            current = _kept(search, asked, position, (inside, *reversed(order)))
            current = search.cut(finished(space, current, position), position - 1, position)
            yield from _outwards(search, current, (position - 1, until), order[0] if order else inside)


def _kept(search: Search, table: Partials, position: int, names: tuple[str | None, ...]) -> Partials:
    """The level keeps names[1:], from the inside; names[0] is kept just inside of it. Loops go where they count.

    Just below the outermost level it is known which loops still follow: dims without any have to be whole before.
    """
    space = search.plan.space
    is_last = position == 1 and not space.machine.levels[0].fanout
    steps = [useful_dims(space, outside, inside) for inside, outside in pairwise((*names, None))]
    for i, name in enumerate(names[1:]):
        later = {d for dims in steps[i + 1 :] for d in dims} if is_last else set(range(len(space.dims)))
        table = whole(space, table, [d for d in range(len(space.dims)) if d not in later and d not in steps[i]])
        table = search.looped(table, steps[i], position, later)
        if position > 1 and not space.shared:
            table = search.widened(table, str(name), steps[i], position)
        table = hold(search.plan, table, position, str(name))
    return table


def _outermost(search: Search, table: Partials, inside: str | None) -> Partials:
    """The outermost level holds everything; its loops go from the tiles inside to the whole extents."""
    space = search.plan.space
    full = np.array([len(sizes) - 1 for sizes in space.sizes])
    dims = useful_dims(space, None, inside)
    table = whole(space, table, [d for d in range(len(space.dims)) if d not in dims])
    table = table.next(np.arange(len(table)), Step("for", dims=dims), index=np.tile(full, (len(table), 1)))
    table = stepped(space, table)
    for placed in space.placements(0, search.plan.begins):
        for name in placed:
            table = keep(search.plan, table, 0, name)
    return search.cut(finished(space, table, 0), 0)


def useful_dims(space: Space, outside: str | None, inside: str | None) -> tuple[int, ...]:
    """Dims of the loops that count between two kept operands; None for the outermost level and for the arithmetic."""
    dims = set(range(len(space.dims)))
    if outside is not None:
        dims -= space.moves[outside]
    if inside is not None:
        dims &= space.moves[inside]
    return tuple(sorted(dims))
