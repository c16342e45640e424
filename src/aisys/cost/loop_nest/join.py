"""The walk along a chain: einsum by einsum, join what fits, and keep what is best in energy, time and room."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import product as product_of
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.cost.loop_nest.arrange import start
from aisys.cost.loop_nest.bound import Bound
from aisys.cost.loop_nest.fusion import MEETING, Interface, Limit, Member, Options, Place, options
from aisys.cost.loop_nest.mapper import arrangements, front
from aisys.cost.loop_nest.partial import Ints, pareto
from aisys.errors import DoesNotFit
from aisys.frozen import FrozenMap

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Chains:
    """The best ways through the first einsums that end in one state, arrays [rows].

    above: bits that the open loop's group keeps outside the loop; peak: the most that one of its members needs inside.
    way: which of the walk's ways led here.
    """

    joule: Floats
    time_s: Floats
    above: Floats
    peak: Floats
    way: Ints


Way = tuple[int, Interface | None]
"""The way before, and the interface of the einsum that it adds; the first adds none."""


@dataclass(frozen=True, slots=True)
class BestChain:
    """Joule and seconds of the chain with the least product of both, and the place of every shared tensor.

    num_walked: chains joined, of which all others cost more or fit nowhere.
    """

    joule: float
    time_s: float
    places: FrozenMap[str, Place]
    num_walked: int


@dataclass(frozen=True, slots=True)
class State:
    """What is alive between two einsums: the place of each shared tensor, and the axes of the open loop."""

    alive: FrozenMap[str, Place]
    loop: frozenset[str] = frozenset()
    tile: int = 0


def walked(
    members: Sequence[Member], choices: Sequence[Sequence[Options]], product: float, ways: list[Way]
) -> Chains | None:
    """All best chains, None where there is none. product: joule seconds that they have to stay within."""
    nothing = np.zeros(1)
    states = {State(FrozenMap()): [Chains(nothing, nothing, nothing, nothing, np.zeros(1, np.int64))]}
    least = [(min(float(o.joule.min()) for o in stage), min(float(o.time_s.min()) for o in stage)) for stage in choices]
    for position in range(len(members)):
        rest = [sum(pair[i] for pair in least[position + 1 :]) for i in (0, 1)]
        merged: dict[State, list[Chains]] = {}
        best = {state: _best(parts) for state, parts in states.items()}
        for state, option in product_of(best, choices[position]):
            after = _next(members, position, state, option)
            if after is None:
                continue
            chains = _joined(members, position, (state, after), best[state], option)
            hopeful = (chains.joule + rest[0]) * (chains.time_s + rest[1]) <= product * (1 + 1e-9)
            if hopeful.any():
                kept = _rows(chains, np.flatnonzero(hopeful))
                merged.setdefault(after, []).append(_on_way(kept, option.interface, ways))
        states = merged
    ends = [_best(parts) for parts in states.values()]
    return _best(ends) if ends else None


def _rows(chains: Chains, rows: NDArray[np.int64]) -> Chains:
    return Chains(*(getattr(chains, field.name)[rows] for field in fields(Chains)))


def _best(parts: Sequence[Chains]) -> Chains:
    every = Chains(*(np.concatenate([getattr(p, field.name) for p in parts]) for field in fields(Chains)))
    columns = [every.joule, every.time_s, every.above, every.peak]
    return _rows(every, pareto(np.zeros(len(every.joule), np.int64), columns))


def _on_way(chains: Chains, interface: Interface, ways: list[Way]) -> Chains:
    """The same chains, each one einsum farther on its way."""
    before, which = np.unique(chains.way, return_inverse=True)
    first = len(ways)
    ways += [(int(way), interface) for way in before]
    return replace(chains, way=first + which)


def _next(members: Sequence[Member], position: int, state: State, option: Options) -> State | None:
    """The state after an einsum, or None where the option does not fit what is alive."""
    member, places = members[position], option.interface.places
    output = member.space.einsum.output.name
    for name, place in places.items():
        if name != output and state.alive.get(name) != place:
            return None
    axes = frozenset(place.axis for place in places.values() if place.tile)
    tile = max((place.tile for place in places.values()), default=0)
    if state.loop and (not axes & state.loop or tile != state.tile):
        return None
    needed = {name for later in members[position + 1 :] for name in later.shared}
    alive = {name: place for name, place in {**state.alive, **places}.items() if name in needed}
    in_loop = any(place.tile for place in alive.values())
    if axes and not state.loop and not places.get(output, Place(0)).tile:
        return None
    return State(
        FrozenMap(alive), (axes | state.loop) if in_loop else frozenset(), tile or state.tile if in_loop else 0
    )


def _joined(
    members: Sequence[Member], position: int, ends: tuple[State, State], before: Chains, option: Options
) -> Chains:
    """Every chain with every nest of the option, without those that overflow the meeting level."""
    state, after = ends
    member = members[position]
    alive = {**state.alive, **option.interface.places}
    whole = sum(_bits(members, name) for name, p in alive.items() if p.level == MEETING and not p.tile)
    known = sum(_bits(members, name) for name, p in state.alive.items() if p.level == MEETING and not p.tile)
    tiles = sum(_bits(members, name, place) for name, place in alive.items() if place.tile)
    capacity = member.space.machine.levels[MEETING].capacity_bits
    i, j = (grid.ravel() for grid in np.indices((len(before.joule), len(option.joule))))
    base = before.above[i] + (whole - known) if state.loop else np.full(len(i), float(whole))
    above, peak = base + option.above[j], np.maximum(before.peak[i], option.below[j] + tiles)
    found = Chains(before.joule[i] + option.joule[j], before.time_s[i] + option.time_s[j], above, peak, before.way[i])
    fits = _rows(found, np.flatnonzero(above + peak <= capacity))
    if after.loop:
        return fits
    return replace(fits, above=np.zeros(len(fits.joule)), peak=np.zeros(len(fits.joule)))


def _bits(members: Sequence[Member], name: str, place: Place | None = None) -> float:
    """Bits of a shared tensor in the meeting level: whole, or one tile of its place."""
    member = next(m for m in members if name in m.shared)
    einsum, operand = member.space.einsum, member.space.einsum.operand(name)
    extents = dict(einsum.extents)
    if place is not None and place.tile:
        extents[next(d for d in operand.dims if member.axis(name, einsum.dims.index(d)) == place.axis)] = place.tile
    return float(operand.elements(extents)) * member.space.machine.levels[MEETING].bits(operand)


SLACK = (1.03, 1.1, 1.3, 2.0, 8.0, np.inf)
"""Limits that are tried, relative to the bound: the first within which a chain is found proves it the best."""


def best_chain(members: Sequence[Member]) -> BestChain:
    """The chain with the least product of energy and time. Raises DoesNotFit where no chain fits."""
    shapes = {member.shape: member for member in members}
    bounds = {shape: _least(member) for shape, member in shapes.items()}
    least = [bounds[member.shape] for member in members]
    bound = sum(p[0] for p in least) * sum(p[1] for p in least)
    for slack in SLACK:
        choices = _choices(members, least, bound * slack)
        ways: list[Way] = [(0, None)]
        found = walked(members, choices, bound * slack, ways) if all(choices) else None
        if found is not None:
            best = int((found.joule * found.time_s).argmin())
            places = _places(ways, int(found.way[best]))
            return BestChain(float(found.joule[best]), float(found.time_s[best]), places, len(ways) - 1)
    raise DoesNotFit(f"no chain of mappings of {', '.join(m.space.einsum.name for m in members)} fits the machine")


def _places(ways: Sequence[Way], way: int) -> FrozenMap[str, Place]:
    places: dict[str, Place] = {}
    before, interface = ways[way]
    while interface is not None:
        places |= interface.places
        before, interface = ways[before]
    return FrozenMap(dict(sorted(places.items())))


def _choices(members: Sequence[Member], least: Sequence[tuple[float, float]], product: float) -> list[list[Options]]:
    """The options of every einsum; einsums of one shape are searched once."""
    known: dict[Any, tuple[Member, list[Options]]] = {}
    found = []
    for i, member in enumerate(members):
        if member.shape not in known:
            known[member.shape] = member, options(member, _limit(least, i, product, members))
        twin, choices = known[member.shape]
        found.append([option.renamed(twin, member) for option in choices])
    return found


def _limit(least: Sequence[tuple[float, float]], position: int, product: float, members: Sequence[Member]) -> Limit:
    others = [pair for i, pair in enumerate(least) if i != position]
    clock_hz = members[position].space.machine.clock_hz
    return Limit(sum(p[0] for p in others), sum(p[1] for p in others), product, clock_hz)


def _least(member: Member) -> tuple[float, float]:
    """Joule and seconds that an einsum needs at least, whatever it shares: all of it in an endless meeting level."""
    if member.is_copy:
        return 0.0, 0.0
    machine = member.space.machine
    levels = list(machine.levels)
    levels[MEETING] = replace(levels[MEETING], capacity_bits=np.inf)
    loose = replace(member.space, machine=replace(machine, levels=tuple(levels)))
    inside = {o.name for o in loose.einsum.operands if o.name in loose.shared and o.role in levels[MEETING].keeps}
    begins: FrozenMap[str, int] = FrozenMap({o.name: MEETING if o.name in inside else 0 for o in loose.einsum.operands})
    cycles = min(
        float(Bound(p).at_least(start(loose), len(levels) - 1, len(levels))[1][0]) for p in arrangements(loose, begins)
    )
    return float(front(loose, begins).joule.min()), cycles / machine.clock_hz
