"""Chains of einsums that hand tensors on inside the machine: fused mappings, joined by the tile of the shared tensor.

A shared tensor begins either in the outermost memory or in the next level that may keep it, the meeting level. There it
lies whole, or tile by tile inside one loop that all einsums between its first and its last use go through together.
Each einsum is searched once per such interface; a walk along the chain joins what fits and keeps what is best in
energy, time and room. All tensors that are alive share the meeting level, and a loop's whole group keeps what lies
outside it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from aisys.cost.loop_nest.arrange import Arrangement, finished, keep
from aisys.cost.loop_nest.bound import Bound
from aisys.cost.loop_nest.mapper import Search, arrangements, inner_nests, useful_dims
from aisys.cost.loop_nest.partial import Ints, Partials, Step, pareto
from aisys.cost.loop_nest.reuse import moving, stepped
from aisys.cost.loop_nest.space import Space, orders
from aisys.frozen import FrozenMap

MEETING = 1
"""The level, counted from the outermost, in which shared tensors may begin."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a shared tensor begins: level 0 or MEETING; inside a loop over `axis` in steps of `tile`, or whole."""

    level: int
    axis: str = ""
    tile: int = 0


@dataclass(frozen=True, slots=True)
class Interface:
    """What an einsum asks of its neighbours: the place of each shared tensor, by name."""

    places: FrozenMap[str, Place]

    @property
    def has_loop(self) -> bool:
        """Whether it goes through a loop together with neighbours."""
        return any(place.tile for place in self.places.values())


@dataclass(frozen=True, slots=True, eq=False)
class Options:
    """The nests of one einsum for one interface, arrays [rows]; above and below: bits outside and inside the loop."""

    interface: Interface
    joule: "np.ndarray[tuple[int], np.dtype[np.float64]]"
    time_s: "np.ndarray[tuple[int], np.dtype[np.float64]]"
    above: "np.ndarray[tuple[int], np.dtype[np.float64]]"
    below: "np.ndarray[tuple[int], np.dtype[np.float64]]"

    def renamed(self, twin: "Member", member: "Member") -> "Options":
        """The options of `member`, which has the shape of `twin`, whose options these are."""
        names = {a.name: b.name for a, b in zip(twin.space.einsum.operands, member.space.einsum.operands, strict=True)}
        places = {names[name]: place for name, place in self.interface.places.items()}
        return replace(self, interface=Interface(FrozenMap(places)))


@dataclass(frozen=True)
class Member:
    """One einsum of a chain: its space, and the name of every axis of its operands."""

    space: Space
    axes: FrozenMap[str, tuple[str, ...]]
    is_copy: bool = False

    @cached_property
    def shared(self) -> tuple[str, ...]:
        """The tensors that it shares, in the order of its operands."""
        return tuple(o.name for o in self.space.einsum.operands if o.name in self.space.shared)

    @cached_property
    def shape(self) -> Any:
        """What its options depend on: all but the names of its operands and dims."""
        space, position = self.space, {dim: d for d, dim in enumerate(self.space.dims)}
        operands = tuple(
            (
                o.role, o.bits, tuple(tuple((position[d], c) for d, c in rank.items()) for rank in o.ranks),
                o.name in space.shared, self.axes[o.name],
                tuple(level for level, names in space.must.items() if o.name in names),
            )
            for o in space.einsum.operands
        )  # fmt: skip
        return tuple(space.einsum.extents.values()), operands, space.machine, self.is_copy

    def axis(self, name: str, dim: int) -> str:
        """The axis of operand `name` that dim moves along, or nothing."""
        operand = self.space.einsum.operand(name)
        for axis, rank in zip(self.axes[name], operand.ranks, strict=True):
            if set(rank) == {self.space.dims[dim]}:
                return axis
        return ""


def options(member: Member, limit: "Limit", beam: int = 0) -> list[Options]:
    """The nests of one einsum worth joining, by interface. beam: rows a step of a narrow search, 0 for all."""
    if member.is_copy:
        return list(_copies(member))
    found: dict[Interface, list[Partials]] = {}
    plans = [plan for begins in _begins(member) for plan in arrangements(member.space, begins)]
    for plan in plans:
        search = Search(Bound(plan, limit=limit), beam)
        inner = inner_nests(search, MEETING)
        for interface, whole in (one for table, inside in inner for one in _met(member, search, table, inside)):
            found.setdefault(interface, []).append(whole)
    return [_joined(member, interface, tables) for interface, tables in found.items()]


def _copies(member: Member) -> Iterator[Options]:
    """A tensor that only changes its place: free where both ends lie in one level, else moved once."""
    space = member.space
    source, target = space.einsum.operands
    zero = np.zeros(1)
    for begins in _begins(member):
        first, last = (space.machine.levels[begins[o.name]] for o in (source, target))
        size = float(source.elements(space.einsum.extents))
        read, written = size * first.bits(source), size * last.bits(target)
        moved = 1.0 if first is not last else 0.0
        joule = moved * (read * first.read_joule_per_bit + written * last.write_joule_per_bit)
        cycles = moved * max(read / first.read_bits_per_cycle, written / last.write_bits_per_cycle)
        joule += space.machine.leak_joule_per_cycle * cycles
        interface = Interface(FrozenMap({name: Place(begins[name]) for name in member.shared}))
        yield Options(interface, zero + joule, zero + cycles / space.machine.clock_hz, zero, zero)


def _joined(member: Member, interface: Interface, tables: list[Partials]) -> Options:
    names = ("joule", "busy", "above", "below")
    columns = [np.concatenate([t.columns[n] for t in tables]) for n in names]
    rows = pareto(np.zeros(len(columns[0]), np.int64), columns)
    joule, busy, above, below = (column[rows] for column in columns)
    return Options(interface, joule, busy / member.space.machine.clock_hz, above, below)


def _begins(member: Member) -> Iterator[FrozenMap[str, int]]:
    names = member.shared
    for bits in range(2 ** len(names)):
        chosen = {name: MEETING if bits >> i & 1 else 0 for i, name in enumerate(names)}
        yield FrozenMap({o.name: chosen.get(o.name, 0) for o in member.space.einsum.operands})


def _met(member: Member, search: Search, table: Partials, inside: str | None) -> Iterator[tuple[Interface, Partials]]:
    """Finish the meeting level and the outermost one, in every order and with every shared loop."""
    space, plan = member.space, search.plan
    backed = [name for name in member.shared if plan.begins[name] == MEETING]
    for placed in space.placements(MEETING, plan.begins):
        for order in orders(placed):
            last = max((i for i, name in enumerate(order) if name in backed), default=-1)
            current, next_inside = table, inside
            for name in reversed(order[last + 1 :]):
                current = search.looped(current, useful_dims(space, name, next_inside), MEETING)
                current, next_inside = _held(plan, current, name, "below"), name
            if not len(current):
                continue
            if last < 0:
                yield from _closed(member, search, current, next_inside)
            else:
                yield from _shared_loops(member, search, current, (order[: last + 1], next_inside))


def _held(plan: Arrangement, table: Partials, name: str, where: str) -> Partials:
    """Keep an operand in the meeting level, and count its room where it is not shared there."""
    before = table.columns["used"]
    held = keep(plan, table, MEETING, name)
    if plan.begins[name] == MEETING:
        return held
    grown = held.columns["used"] - before[held.origin]
    return Partials(
        held.index, {**held.columns, where: held.columns[where] + grown}, held.origin, held.step, held.inner
    )


def _closed(
    member: Member, search: Search, table: Partials, inside: str | None
) -> Iterator[tuple[Interface, Partials]]:
    """No shared tensor begins in the meeting level: the rest is as for an einsum alone."""
    space = member.space
    full = _full(space)
    dims = useful_dims(space, None, inside)
    others = [d for d in range(len(space.dims)) if d not in dims]
    rows = np.flatnonzero((table.index[:, others] == full[others]).all(axis=1))
    whole = stepped(space, table.next(rows, Step("for", dims=dims), index=np.tile(full, (len(rows), 1))))
    whole = _finished(search, whole)
    if len(whole):
        yield Interface(FrozenMap({name: Place(0) for name in member.shared})), whole


def _full(space: Space) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.array([len(sizes) - 1 for sizes in space.sizes], np.int64)


def _finished(search: Search, table: Partials) -> Partials:
    """Finish the meeting level and the outermost one of rows that cover everything."""
    space = search.plan.space
    table = finished(space, table, MEETING)
    for placed in space.placements(0, search.plan.begins):
        for name in placed:
            table = keep(search.plan, table, 0, name)
    return search.cut(finished(space, table, 0), 0)


def _shared_loops(
    member: Member, search: Search, table: Partials, rest: tuple[tuple[str, ...], str | None]
) -> Iterator[tuple[Interface, Partials]]:
    """Every shared loop (one dim, one tile, one place among the kept operands), and none at all."""
    order, inside = rest
    space, full = member.space, _full(member.space)
    allowed = set(range(len(space.dims))) if inside is None else set(space.moves[inside])
    yield from _with_loops(member, search, table, Loops(order, -1, allowed, full[None, :], np.array([-1])))
    for place in range(len(order)):
        steps = [
            (d, step)
            for d, sizes in enumerate(space.sizes)
            if _may_loop(member, search.plan, order, place, d)
            for step in range(len(sizes) - 1)
        ]
        if steps:
            targets = np.tile(full, (len(steps), 1))
            moved = np.array([d for d, _ in steps])
            targets[np.arange(len(steps)), moved] = [step for _, step in steps]
            yield from _with_loops(member, search, table, Loops(order, place, allowed, targets, moved))


@dataclass(frozen=True, slots=True, eq=False)
class Loops:
    """Shared loops that stand just outside order[place] (-1: none): row i over dim moved[i], to the tile targets[i].

    allowed: dims of the loops inside the innermost shared tensor.
    """

    order: tuple[str, ...]
    place: int
    allowed: set[int]
    targets: Ints
    moved: Ints

    def reached(self, space: Space, table: Partials) -> tuple[Ints, Ints]:
        """Pairs of a row of the table and a loop whose tile it divides, in the allowed dims only."""
        fits = np.ones((len(table), len(self.targets)), bool)
        for d, sizes in enumerate(space.sizes):
            divides = sizes[None, :] % sizes[:, None] == 0 if d in self.allowed else np.eye(len(sizes), dtype=bool)
            fits &= divides[table.index[:, d]][:, self.targets[:, d]]
        rows, loops = np.nonzero(fits)
        return rows.astype(np.int64), loops.astype(np.int64)


def _with_loops(member: Member, search: Search, table: Partials, loops: Loops) -> Iterator[tuple[Interface, Partials]]:
    space, plan = member.space, search.plan
    rows, codes = loops.reached(space, table)
    if not len(rows):
        return
    columns = {name: value[rows] for name, value in table.columns.items()} | {"loop": codes.astype(float)}
    current = stepped(space, table.next(rows, Step("for"), index=loops.targets[codes], columns=columns))
    current = search.cut(current, MEETING)
    for i in reversed(range(len(loops.order))):
        current = _held(plan, current, loops.order[i], "below" if i >= loops.place >= 0 else "above")
        if i == loops.place:
            current = moving(space, current)
            current = current.next(np.arange(len(current)), Step("for"), index=np.tile(_full(space), (len(current), 1)))
    whole = _finished(search, current)
    for code in np.unique(whole.columns["loop"]):
        rows = np.flatnonzero(whole.columns["loop"] == code)
        yield _interface(member, plan, loops, int(code)), whole.kept(rows)


def _interface(member: Member, plan: Arrangement, loops: Loops, code: int) -> Interface:
    d = int(loops.moved[code])
    inner = set(loops.order[loops.place :]) if loops.place >= 0 else set()
    places = {}
    for name in member.shared:
        is_tiled = name in inner and plan.begins[name] == MEETING
        tile = int(member.space.sizes[d][loops.targets[code, d]]) if is_tiled else 0
        places[name] = Place(plan.begins[name], member.axis(name, d) if tile else "", tile)
    return Interface(FrozenMap(places))


def _may_loop(member: Member, plan: Arrangement, order: tuple[str, ...], place: int, d: int) -> bool:
    """Whether the shared loop may stand just outside order[place]: it moves all that begins inside, once each."""
    space = member.space
    unseen = [name for name in order[place:] if plan.begins[name] == MEETING]
    if any(d not in space.moves[name] or not member.axis(name, d) for name in unseen):
        return False
    outside = order[place - 1] if place else None
    return outside is None or plan.begins[outside] == MEETING or d not in space.moves[outside]


@dataclass(frozen=True, slots=True)
class Limit:
    """Nests of one einsum are dropped where even the best of all others cannot bring the chain below `product`.

    joule, time_s: lower bounds of all other einsums together; product: joule seconds of a chain that is known.
    """

    joule: float
    time_s: float
    product: float
    clock_hz: float

    def hopeful(
        self,
        joule: "np.ndarray[tuple[int], np.dtype[np.float64]]",
        cycles: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    ) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Rows that may be part of a chain that is no worse than the known one."""
        return (joule + self.joule) * (cycles / self.clock_hz + self.time_s) <= self.product * (1 + 1e-9)
