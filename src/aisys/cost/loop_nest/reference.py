"""The slow twin of `evaluate`: walks every step of a small loop nest with every unit, and counts elements of sets.

It shares no formula with the fast one, only the rules of `traffic`: when a unit fetches, and when a window slides.
Tests compare the two. Extents should be small: its time is the number of multiply-accumulates, times the levels.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product

from aisys.cost.loop_nest.einsum import Einsum, Operand
from aisys.cost.loop_nest.hierarchy import Hierarchy
from aisys.cost.loop_nest.mapping import Keep, Loop, Mapping

Point = tuple[int, ...]
Counts = dict[str, int]


@dataclass(frozen=True, slots=True)
class Visit:
    """One tile at one unit: loop indices, elements of the operand, and those among them that the unit lacked."""

    index: Point
    unit: Point
    tile: frozenset[Point]
    fetched: frozenset[Point]


def count(einsum: Einsum, machine: Hierarchy, mapping: Mapping) -> dict[tuple[str, str], Counts]:
    """Reads, fills, updates, drains and tile of each operand at each level that keeps it, by walking the nest."""
    found: dict[tuple[str, str], Counts] = {}
    for operand in einsum.operands:
        places = [*_places(mapping, operand), ("", len(mapping.loops))]
        for outer, inner in pairwise(places):
            counts = _between(einsum, machine, mapping.loops, operand, outer, inner[1])
            found.setdefault((outer[0], operand.name), defaultdict(int)).update(counts["outer"])
            if inner[0]:
                found[inner[0], operand.name] = defaultdict(int, counts["inner"])
    if machine.reads_on_drain:
        for counted in found.values():
            counted["reads"] += counted["drains"]
    return found


def steps(einsum: Einsum, mapping: Mapping) -> int:
    """Steps of the nest in which at least one unit has work."""
    loops = mapping.loops
    busy = {
        tuple(i for i, loop in zip(index, loops, strict=True) if not loop.is_spatial)
        for index in _indices(loops)
        if _is_inside(einsum, _begin(einsum, loops, len(loops), index))
    }
    return len(busy)


def _between(
    einsum: Einsum, machine: Hierarchy, loops: tuple[Loop, ...], operand: Operand, outer: tuple[str, int], depth: int
) -> dict[str, Counts]:
    """Counts at the level `outer` and at the one below it, which keeps the operand inside the first `depth` loops."""
    is_output = operand.role == "output"
    shared = [outer[1] <= i < depth and machine.shares(loop.over, is_output=is_output) for i, loop in enumerate(loops)]
    above: Counts = defaultdict(int)
    below: Counts = defaultdict(int)
    seen_above: dict[Point, set[Point]] = defaultdict(set)
    seen_below: dict[Point, set[Point]] = defaultdict(set)
    served: set[Point] = set()
    for visit in _visits(einsum, loops, operand, depth):
        below["tile"] = max(below["tile"], len(visit.tile))
        seen = seen_below[visit.unit]
        below["fills"] += len(visit.fetched & seen) if is_output else len(visit.fetched)
        below["drains"] += len(visit.fetched) if is_output else 0
        seen |= visit.fetched
        key = _request(loops, operand, visit.index, shared)
        if not visit.fetched or key in served:
            continue
        served.add(key)
        holder = tuple(i for i, loop in zip(visit.index[: outer[1]], loops, strict=False) if loop.is_spatial)
        above["reads"] += len(visit.fetched & seen_above[holder]) if is_output else len(visit.fetched)
        above["updates"] += len(visit.fetched) if is_output else 0
        seen_above[holder] |= visit.fetched
    if not outer[1]:
        above["tile"] = len(_tile(einsum, loops, operand, 0, ()))
    return {"outer": above, "inner": below}


def _visits(einsum: Einsum, loops: tuple[Loop, ...], operand: Operand, depth: int) -> Iterator[Visit]:
    """Every visit of a unit below the first `depth` loops, in order of time."""
    is_compute = depth == len(loops)
    moving = [i for i in range(depth) if _is_active(einsum, loops, i) and loops[i].dim in operand.dims]
    active = [i for i in range(depth) if _is_active(einsum, loops, i)]
    last_index: dict[Point, Point] = {}
    last_tile: dict[Point, frozenset[Point]] = {}
    for index in _indices(loops[:depth]):
        begin = _begin(einsum, loops, depth, index)
        if not _is_inside(einsum, begin):
            continue
        unit = tuple(i for i, loop in zip(index, loops, strict=False) if loop.is_spatial)
        tile = _tile(einsum, loops, operand, depth, index)
        before = last_index.get(unit)
        fetched = tile
        if before is not None and not is_compute:
            stepped = any(before[i] != index[i] for i in range(max(moving, default=-1) + 1))
            if not stepped:
                fetched = frozenset()
            elif moving and active[-1] == moving[-1] and _slides(einsum, loops, depth, (before, index), moving[-1]):
                fetched = tile - last_tile[unit]
        last_index[unit], last_tile[unit] = index, tile
        yield Visit(index, unit, tile, fetched)


def _is_active(einsum: Einsum, loops: tuple[Loop, ...], position: int) -> bool:
    """Whether a temporal loop has a second tile that is not empty."""
    loop = loops[position]
    return not loop.is_spatial and loop.factor > 1 and _weight(loops, position) < einsum.extents[loop.dim]


def _slides(einsum: Einsum, loops: tuple[Loop, ...], depth: int, step: tuple[Point, Point], innermost: int) -> bool:
    """Whether a step moves the dim of the innermost loop on by one tile of it, and no other dim."""
    before, after = (_begin(einsum, loops, depth, index) for index in step)
    dim = loops[innermost].dim
    others = all(before[d] == after[d] for d in einsum.dims if d != dim)
    return others and after[dim] - before[dim] == _weight(loops, innermost)


def _request(loops: tuple[Loop, ...], operand: Operand, index: Point, shared: list[bool]) -> Point:
    """Equal for units that ask for the same tile at the same time through the same fan-outs."""
    own = [i for i, is_shared in zip(index, shared, strict=False) if not is_shared]
    offsets: dict[tuple[str, int], int] = {}
    for position, (i, is_shared) in enumerate(zip(index, shared, strict=False)):
        loop = loops[position]
        for number, rank in enumerate(operand.ranks):
            if is_shared and loop.dim in rank:
                key = (loop.over.rpartition(".")[0], number)
                offsets[key] = offsets.get(key, 0) + i * _weight(loops, position) * rank[loop.dim]
    return (*own, *(offsets[key] for key in sorted(offsets)))


def _indices(loops: tuple[Loop, ...]) -> Iterator[Point]:
    """Indices of all loops; units vary fastest, so that all visits of one step follow one another."""
    time = [loop.factor if not loop.is_spatial else 1 for loop in loops]
    space = [loop.factor if loop.is_spatial else 1 for loop in loops]
    for step in product(*map(range, time)):
        for unit in product(*map(range, space)):
            yield tuple(t + s for t, s in zip(step, unit, strict=True))


def _weight(loops: tuple[Loop, ...], position: int) -> int:
    weight = 1
    for loop in loops[position + 1 :]:
        weight *= loop.factor if loop.dim == loops[position].dim else 1
    return weight


def _begin(einsum: Einsum, loops: tuple[Loop, ...], depth: int, index: Point) -> dict[str, int]:
    begin = dict.fromkeys(einsum.dims, 0)
    for position in range(depth):
        begin[loops[position].dim] += index[position] * _weight(loops, position)
    return begin


def _is_inside(einsum: Einsum, begin: dict[str, int]) -> bool:
    return all(begin[dim] < extent for dim, extent in einsum.extents.items())


def _tile(einsum: Einsum, loops: tuple[Loop, ...], operand: Operand, depth: int, index: Point) -> frozenset[Point]:
    """The elements of the operand in one tile: the box that its points span, cut off at the extents."""
    begin = _begin(einsum, loops, depth, index)
    end = dict(begin)
    for dim, extent in einsum.extents.items():
        size = 1
        for loop in loops[depth:]:
            size *= loop.factor if loop.dim == dim else 1
        end[dim] = min(begin[dim] + size, extent) - 1
    spans = [
        range(sum(c * begin[d] for d, c in rank.items()), sum(c * end[d] for d, c in rank.items()) + 1)
        for rank in operand.ranks
    ]
    return frozenset(product(*spans))


def _places(mapping: Mapping, operand: Operand) -> list[tuple[str, int]]:
    places: list[tuple[str, int]] = []
    depth = 0
    for node in mapping.nodes:
        if isinstance(node, Keep):
            places += [(node.level, depth)] if operand.name in node.operands else []
        else:
            depth += 1
    return places
