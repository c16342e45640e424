"""The best mappings of an einsum on a machine, with the proof: what was explored, what was dropped, and the bound.

Nests are built from the arithmetic units outwards (`arrange`), once per choice of who is kept where, and of several
inner nests with the same tile only those survive that are best in something (`partial`). Nothing is sampled.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from aisys.cost.loop_nest.arrange import Arrangement, finished, keep, looped, pruned, spread, spreads, start
from aisys.cost.loop_nest.bound import Bound
from aisys.cost.loop_nest.partial import Partials, Step, pareto
from aisys.cost.loop_nest.space import Space, orders
from aisys.frozen import FrozenMap

Floats = NDArray[np.float64]

BEAM_ROWS = 256
"""Rows a step that the first, narrow search goes on with: it has to find a good mapping, which the second proves."""


@dataclass(frozen=True, slots=True, eq=False)
class Front:
    """Nests of a space, none of which is beaten in both energy and cycles by another: nest i is a table and its row.

    explored, pruned: partial nests that the proof looked at, and those that it dropped. bound_joule, bound_cycles: what
    any mapping needs at least (compulsory traffic, every unit busy).
    """

    nests: tuple[tuple[Partials, int], ...]
    joule: Floats
    cycles: Floats
    explored: int
    pruned: int
    bound_joule: float
    bound_cycles: float


def front(space: Space, begins: FrozenMap[str, int] | None = None) -> Front:
    """Every mapping of the space that is best for some price of a joule in cycles. begins: see `Arrangement`.

    A narrow search finds good mappings; the full one drops what cannot beat them, and so proves or betters them.
    """
    plans = list(arrangements(space, begins))
    first = [table for plan in plans for table in nests(Search(Bound(plan), BEAM_ROWS))]
    known = [(joule, cycles) for _, _, joule, cycles in _best(first)]
    proofs = [Search(Bound(plan, known)) for plan in plans]
    best = _best([*first, *(table for proof in proofs for table in nests(proof))])
    floors = [search.bound.at_least(start(space), len(space.machine.levels) - 1) for search in proofs]
    return Front(
        nests=tuple((table, row) for table, row, _, _ in best),
        joule=np.array([j for _, _, j, _ in best]), cycles=np.array([c for _, _, _, c in best]),
        explored=sum(proof.counts["explored"] for proof in proofs), pruned=sum(p.counts["pruned"] for p in proofs),
        bound_joule=min(float(joule[0]) for joule, _ in floors), bound_cycles=min(float(c[0]) for _, c in floors),
    )  # fmt: skip


def _best(tables: list[Partials]) -> list[tuple[Partials, int, float, float]]:
    found = [
        (table, row, float(table.columns["joule"][row]), float(table.columns["busy"][row]))
        for table in tables
        for row in range(len(table))
    ]
    if not found:
        return []
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
    level = space.machine.levels[position]
    choices = space.spreads(level)[list(level.fanout).index(fan)]
    moving = space.moves[space.einsum.output.name]
    return tuple(sorted({prod(f for _, d, f in c if d not in moving) for c in choices}))


def filled_units(space: Space) -> dict[tuple[int, str], int]:
    """The most units that each fan-out dim can use, the outermost dim first."""
    extents = {tuple(space.einsum.extents[d] for d in space.dims)}
    units: dict[tuple[int, str], int] = {}
    fans = [(p, fan) for p, level in enumerate(space.machine.levels) for fan in level.fanout]
    choices = [one for level in space.machine.levels for one in space.spreads(level)]
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
    """How the nests of an arrangement are searched: dropped against `bound`; `beam` rows a step, 0 for all."""

    bound: Bound
    beam: int = 0
    counts: dict[str, int] = field(default_factory=lambda: {"explored": 0, "pruned": 0})

    @property
    def plan(self) -> Arrangement:
        """The arrangement that is searched."""
        return self.bound.plan

    def cut(self, table: Partials, position: int) -> Partials:
        """The rows that are worth going on with."""
        hopeful = table.kept(np.flatnonzero(self.bound.hopeful(table, position)))
        self.counts["explored"] += len(table)
        best = pruned(self.plan.space, hopeful) if len(hopeful) else hopeful
        if self.beam and len(best) > self.beam:
            joule, cycles = self.bound.at_least(best, position)
            best = best.kept(np.argsort(joule * cycles, kind="stable")[: self.beam])
        self.counts["pruned"] += len(table) - len(best)
        return best


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
    for name, choices in spreads(search.plan, position):
        table = search.cut(spread(search.plan, table, (position, name), choices), position)
    if not len(table):
        return
    if position == until:
        yield table, inside
        return
    for placed in space.placements(position, search.plan.begins):
        for order in orders(placed):
            current, next_inside = table, inside
            for name in reversed(order):
                current = search.cut(looped(space, current, useful_dims(space, name, next_inside)), position)
                current, next_inside = keep(search.plan, current, position, name), name
            current = search.cut(finished(space, current, position), position - 1)
            yield from _outwards(search, current, (position - 1, until), next_inside)


def _outermost(search: Search, table: Partials, inside: str | None) -> Partials:
    """The outermost level holds everything; its loops go from the tiles inside to the whole extents."""
    space = search.plan.space
    full = np.array([len(sizes) - 1 for sizes in space.sizes])
    dims = useful_dims(space, None, inside)
    others = [d for d in range(len(space.dims)) if d not in dims]
    rows = np.flatnonzero((table.index[:, others] == full[others]).all(axis=1))
    table = table.next(rows, Step("for", dims=dims), index=np.tile(full, (len(rows), 1)))
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
