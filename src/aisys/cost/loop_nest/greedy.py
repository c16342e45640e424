"""A good mapping without a search: fill the array, then the memories from the inside, and take the best loop order.

For a quick price of one op. The optimal mapping, with its proof, is the mapper's.
"""

from itertools import permutations
from math import ceil

from aisys.cost.loop_nest.einsum import Einsum, Operand
from aisys.cost.loop_nest.evaluate import check_fits, evaluate
from aisys.cost.loop_nest.hierarchy import Hierarchy, Level
from aisys.cost.loop_nest.mapping import Keep, Loop, Mapping, Node, check
from aisys.errors import unknown_name

MAX_ORDERS = 24
"""Loop orders that are tried per level: every order of the four dims that have the most tiles."""


def greedy_mapping(einsum: Einsum, machine: Hierarchy) -> Mapping:
    """The fastest of a few mappings, and of those the one of least energy. Raises BadInput where none fits."""
    left = dict(einsum.extents)
    spreads = {level.name: _spread(einsum, level, left) for level in machine.levels}
    tiles = _tiles(einsum, machine, left, spreads)
    best: tuple[float, float, Mapping] | None = None
    for order in _orders(einsum):
        mapping = Mapping(tuple(_nodes(einsum, machine, (spreads, tiles), order)))
        cost = evaluate(einsum, machine, mapping)
        key = (float(cost.cycles[0]), float(cost.energy_joule[0]))
        if best is None or key < best[:2]:
            best = (*key, mapping)
    assert best is not None
    check(best[2], einsum, machine)
    check_fits(evaluate(einsum, machine, best[2]), machine)
    return best[2]


def _spread(einsum: Einsum, level: Level, left: dict[str, int]) -> list[Loop]:
    """Dims over each fan-out dim: those that fill it best, twice if one leaves room. Takes them off what is left."""
    loops: list[Loop] = []
    for axis, extent in level.fanout.items():
        shared = level.reuse.get(axis)
        dims = [dim for dim in einsum.dims if not any(dim in o.dims for o in einsum.operands if o.role == shared)]
        room = extent
        while room > 1:
            best = max(dims, key=lambda dim: (_filling(left[dim], room), -dims.index(dim)), default=None)
            if best is None or left[best] == 1:
                break
            factor = min(left[best], room)
            loops.append(Loop(best, factor, f"{level.name}.{axis}"))
            left[best] = ceil(left[best] / factor)
            room //= factor
    return loops


def _filling(extent: int, room: int) -> float:
    """Units that are busy on average, when `extent` tiles go over `room` units."""
    return extent / ceil(extent / room)


def _tiles(
    einsum: Einsum, machine: Hierarchy, left: dict[str, int], spreads: dict[str, list[Loop]]
) -> dict[str, dict[str, int]]:
    """Temporal factors at each level but the outermost, from the inside: dims grow in turn while their tiles fit."""
    inside = dict.fromkeys(einsum.dims, 1)
    factors: dict[str, dict[str, int]] = {}
    for position, level in reversed(list(enumerate(machine.levels))):
        for loop in spreads[level.name]:
            inside[loop.dim] *= loop.factor
        grown = dict.fromkeys(einsum.dims, 1)
        if level.keeps and position:
            _grow(einsum, _holders(machine, position, spreads), inside, (grown, left))
        factors[level.name] = grown
        for dim, factor in grown.items():
            inside[dim] *= factor
            left[dim] = ceil(left[dim] / factor)
    factors[machine.levels[0].name] = dict(left)
    return factors


Holder = tuple[Level, dict[str, int]]


def _holders(machine: Hierarchy, position: int, spreads: dict[str, list[Loop]]) -> list[Holder]:
    """The levels that a tile of the level at `position` is part of, and how many of it lie side by side in each."""
    found: list[Holder] = []
    beside: dict[str, int] = {}
    for outer in reversed(range(1, position + 1)):
        level = machine.levels[outer]
        if outer < position:
            for loop in spreads[level.name]:
                beside[loop.dim] = beside.get(loop.dim, 1) * loop.factor
        found.append((level, dict(beside)))
    return found


def _grow(
    einsum: Einsum, holders: list[Holder], inside: dict[str, int], sizes: tuple[dict[str, int], dict[str, int]]
) -> None:
    """Doubles the factors of dims in turn, the reduced ones first, while every level that holds the tile has room."""
    grown, left = sizes
    reduced = [dim for dim in einsum.dims if dim not in einsum.output.dims]
    growing = [*reduced, *(dim for dim in einsum.dims if dim not in reduced)]
    while growing:
        for dim in list(growing):
            wider = {**grown, dim: min(2 * grown[dim], left[dim])}
            tile = {d: inside[d] * wider[d] for d in einsum.dims}
            if wider[dim] == grown[dim] or not all(_has_room(einsum, holder, tile) for holder in holders):
                growing.remove(dim)
            else:
                grown[dim] = wider[dim]


def _has_room(einsum: Einsum, holder: Holder, tile: dict[str, int]) -> bool:
    level, beside = holder
    held = {dim: min(size * beside.get(dim, 1), einsum.extents[dim]) for dim, size in tile.items()}
    kept = (operand for operand in einsum.operands if operand.role in level.keeps)
    return sum(_bits(einsum, level, operand, held) for operand in kept) <= level.capacity_bits


def _bits(einsum: Einsum, level: Level, operand: Operand, held: dict[str, int]) -> float:
    """Of a tile that is stored as one piece."""
    return level.bits(operand, einsum.matrix(operand, operand.widths(held))) * operand.elements(held)


def _orders(einsum: Einsum) -> list[tuple[str, ...]]:
    widest = sorted(einsum.dims, key=lambda dim: -einsum.extents[dim])[:4]
    rest = tuple(dim for dim in einsum.dims if dim not in widest)
    return [(*rest, *order) for order in permutations(widest)][:MAX_ORDERS]


def _nodes(
    einsum: Einsum, machine: Hierarchy, parts: tuple[dict[str, list[Loop]], dict[str, dict[str, int]]],
    order: tuple[str, ...],
) -> list[Node]:  # fmt: skip
    spreads, tiles = parts
    nodes: list[Node] = []
    for level in machine.levels:
        kept = tuple(operand.name for operand in einsum.operands if operand.role in level.keeps)
        nodes += [Keep(level.name, kept)] if kept else []
        nodes += [Loop(dim, tiles[level.name][dim]) for dim in order if tiles[level.name][dim] > 1]
        nodes += spreads[level.name]
    return nodes


def map_einsum(einsum: Einsum, machine: Hierarchy) -> Mapping:
    """The mapping that `cost` prices. Raises UnknownName for a dataflow other than any and rs."""
    if machine.dataflow not in ("any", "rs"):
        raise unknown_name(f"dataflow of {machine.name}", machine.dataflow, ("any", "rs"))
    return greedy_mapping(einsum, machine)
