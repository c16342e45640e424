"""The mappings that are searched: who is kept where, in which order, and where a loop can still matter.

Canonical nests only; every other nest costs at least as much as one of them:
- a loop that moves the tile kept just outside it may as well stand outside that tile, which is then smaller;
- a loop that does not move the tile kept just inside it may as well stand inside, and the tile is fetched less often;
- so between two kept tiles only those loops count that leave the outer tile alone and move the inner one, and their
  order does not matter.

Source: the pruned map space of Gilbert et al. 2026 (the turbo-charged mapper), in our words.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, combinations, permutations
from math import prod

import numpy as np
from numpy.typing import NDArray

from aisys.cost.loop_nest.einsum import Einsum, Operand, Rank
from aisys.cost.loop_nest.hierarchy import Hierarchy, Level
from aisys.frozen import FrozenMap

Ints = NDArray[np.int64]
Choice = tuple[tuple[str, int, int], ...]
"""Loops over one fan-out dim: (fan-out dim, dim, factor) of each, with factors above 1."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """All canonical mappings of an einsum on a machine.

    must: level to the operands that it has to keep; others it may keep. is_filled: fan-outs take as many units as they
    can, the outermost first. shared: operands that are exchanged with other einsums, by name; see `fusion`.
    is_cut: tiles need not divide the extents, see `sizes`.
    """

    einsum: Einsum
    machine: Hierarchy
    must: FrozenMap[str, frozenset[str]] = field(default_factory=FrozenMap)
    is_filled: bool = False
    shared: frozenset[str] = frozenset()
    children_begin: bool = False
    is_cut: bool = False

    @cached_property
    def dims(self) -> tuple[str, ...]:
        """Names of the dims, in order."""
        return self.einsum.dims

    @cached_property
    def sizes(self) -> tuple[Ints, ...]:
        """The tile sizes of each dim, ascending: the divisors of its extent, and if `is_cut`, what fills fan-outs.

        XX consists of whole smaller ones; only the
        last one of a dim is cut off by its extent.
        """
        found = []
        for d, dim in enumerate(self.dims):
            extent = self.einsum.extents[dim]
            wide = {x for level in self.machine.levels for x, free in self.fanouts(level) if d in free and x < extent}
            found.append(_sizes(extent, wide) if self.is_cut else _divisors(extent))
        return tuple(found)

    @cached_property
    def counts(self) -> tuple[Ints, ...]:
        """How many tiles of each size a dim is made of, the last one perhaps cut off."""
        return tuple(-(-self.einsum.extents[dim] // sizes) for dim, sizes in zip(self.dims, self.sizes, strict=True))

    @cached_property
    def contained(self) -> tuple[NDArray[np.bool_], ...]:
        """Per dim, [size, size]: whether a tile of the second size is made of tiles of the first."""
        return tuple(
            (sizes[None, :] % sizes[:, None] == 0) | (np.arange(len(sizes)) == len(sizes) - 1) for sizes in self.sizes
        )

    @cached_property
    def uneven(self) -> tuple[int, ...]:
        """The dims that have tiles which do not divide their extent."""
        return tuple(d for d, dim in enumerate(self.dims) if (self.einsum.extents[dim] % self.sizes[d]).any())

    def ratio(self, inner: Ints, outer: Ints, d: int) -> Ints:
        """Tiles of dim d inside each that a loop makes of them, [rows]."""
        return -(-self.sizes[d][outer[:, d]] // self.sizes[d][inner[:, d]])

    @cached_property
    def reached(self) -> tuple[Ints, ...]:
        """Per dim, [factor, size]: the size that so many tiles of each size make, or -1 where that is none."""
        found = []
        for sizes, counts, factors in zip(self.sizes, self.counts, self.factors, strict=True):
            wanted = np.minimum(sizes[None, :] * factors[:, None], sizes[-1])
            made = np.searchsorted(sizes, wanted)
            is_needed = (sizes[made] == wanted) & (-(-wanted // sizes) == factors[:, None])
            found.append(np.where(is_needed & (counts >= factors[:, None]), made, -1))
        return tuple(found)

    def parts(self, index: Ints, d: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Tiles of dim d, and the extent of the last one relative to the others, [rows]."""
        size, count = self.sizes[d][index[:, d]], self.counts[d][index[:, d]]
        return count.astype(float), (self.einsum.extents[self.dims[d]] - (count - 1) * size) / size

    @cached_property
    def strides(self) -> Ints:
        """What a step of the size index of each dim adds to the key of a tile."""
        return np.cumprod([1, *(len(sizes) for sizes in self.sizes)])[:-1].astype(np.int64)

    @cached_property
    def moves(self) -> dict[str, frozenset[int]]:
        """Operand to the positions of the dims that move its tile."""
        return {o.name: frozenset(self.dims.index(d) for d in o.dims) for o in self.einsum.operands}

    def keys(self, index: Ints) -> Ints:
        """One number per tile, [rows]."""
        return index @ self.strides

    def elements(self, operand: Operand, index: Ints) -> NDArray[np.float64]:
        """Elements of `operand` in each tile, [rows]."""
        total = np.ones(len(index))
        for rank in operand.ranks:
            width = np.ones(len(index))
            for dim, coefficient in rank.items():
                d = self.dims.index(dim)
                width = width + coefficient * (self.sizes[d][index[:, d]] - 1.0)
            total = total * width
        return total

    def fetched(self, operand: Operand, index: Ints) -> NDArray[np.float64]:
        """Elements of `operand` in all tiles that the einsum is made of, [rows]: each cut off at the extents."""
        total = self.brought(operand, index)
        for d, counts in enumerate(self.counts):
            if d not in self.moves[operand.name]:
                total = total * counts[index[:, d]]
        return total

    def brought(self, operand: Operand, index: Ints) -> NDArray[np.float64]:
        """Elements of `operand` in all tiles, if each is brought once, [rows]."""
        total = np.ones(len(index))
        num = [counts[index[:, d]].astype(float) for d, counts in enumerate(self.counts)]
        for rank in operand.ranks:
            dims = {self.dims.index(dim): coefficient for dim, coefficient in rank.items()}
            tiles: NDArray[np.float64] = np.prod([num[d] for d in dims], axis=0)
            width = tiles.copy()
            for d, coefficient in dims.items():
                width += coefficient * (self.einsum.extents[self.dims[d]] - num[d]) * (tiles / num[d])
            total = total * width
        return total

    def is_whole(self, operand: Operand, index: Ints) -> NDArray[np.bool_]:
        """Whether a tile covers all dims that move it, [rows]."""
        whole = [index[:, d] == len(self.sizes[d]) - 1 for d in self.moves[operand.name]]
        return np.asarray(np.all(whole, axis=0)) if whole else np.ones(len(index), bool)

    @cached_property
    def windows(self) -> tuple[tuple[str, dict[int, int]], ...]:
        """Ranks of operands that are read along which tiles overlap: the operand, and dims with coefficients."""
        return tuple(
            (operand.name, {self.dims.index(dim): c for dim, c in rank.items()})
            for operand in self.einsum.operands
            for rank in operand.ranks
            if sum(self.einsum.extents[dim] > 1 for dim in rank) > 1
        )

    def least(self, operand: Operand) -> float:
        """Elements that are touched at least: tiles of a strided window may leave out what lies between."""
        extents = self.einsum.extents
        return float(prod(min(_touched(rank, extents, whole) for whole in _corners(rank)) for rank in operand.ranks))

    @cached_property
    def alike(self) -> tuple[int, ...]:
        """Where each dim goes if dims that act alike, such as rows and columns of square maps, trade places; or ()."""
        pairs = list(combinations(range(len(self.dims)), 2))
        for swaps in (*((pair,) for pair in pairs), *combinations(pairs, 2)):
            places = list(range(len(self.dims)))
            for a, b in swaps:
                places[a], places[b] = b, a
            is_new = len({d for pair in swaps for d in pair}) == 2 * len(swaps)
            if is_new and self._is_same(dict(zip(self.dims, (self.dims[d] for d in places), strict=True))):
                return tuple(places)
        return ()

    def _is_same(self, names: dict[str, str]) -> bool:
        """Whether the einsum, with its dims renamed, is itself, and the rename moves a dim that is more than 1."""
        extents = self.einsum.extents
        if any(extents[a] != extents[b] for a, b in names.items()):
            return False
        ranks = [[dict(rank) for rank in operand.ranks] for operand in self.einsum.operands]
        after = [[{names[dim]: c for dim, c in rank.items()} for rank in own] for own in ranks]
        moved = any(a != b and extents[a] > 1 for a, b in names.items())
        return moved and all(all(rank in own for rank in new) for own, new in zip(ranks, after, strict=True))

    def placements(self, position: int, begins: Mapping[str, int]) -> list[tuple[str, ...]]:
        """Every choice of the operands that a level keeps, given where each begins."""
        level = self.machine.levels[position]
        must = {o.name for o in self.einsum.operands if o.name in self.must.get(level.name, ())}
        must |= {name for name, first in begins.items() if first == position}
        can = {o.name for o in self.einsum.operands if o.role in level.keeps and begins[o.name] <= position}
        needed = tuple(o.name for o in self.einsum.operands if o.name in must)
        may = [o.name for o in self.einsum.operands if o.name in can - must]
        if not must <= can:
            return []
        subsets = chain.from_iterable(combinations(may, size) for size in range(len(may) + 1))
        return [needed + subset for subset in subsets]

    @cached_property
    def spreads(self) -> tuple[tuple[tuple[Choice, ...], ...], ...]:
        """Per level and fan-out dim, the loops that may be spread over it."""
        return tuple(
            tuple(
                tuple(_choices(name, extent, {d: self.factors[d] for d in free}))
                for name, (extent, free) in zip(level.fanout, self.fanouts(level), strict=True)
            )
            for level in self.machine.levels
        )

    def fanouts(self, level: Level) -> list[tuple[int, tuple[int, ...]]]:
        """Per fan-out dim of a level, its extent and the dims that may be spread over it."""
        found = []
        for name, extent in level.fanout.items():
            fixed = {o.name for o in self.einsum.operands if o.role == level.reuse.get(name)}
            free = tuple(d for d in range(len(self.dims)) if not any(d in self.moves[o] for o in fixed))
            found.append((extent, free))
        return found

    @cached_property
    def factors(self) -> tuple[Ints, ...]:
        """Per dim, every number of tiles that a larger one may be made of, ascending."""
        found = []
        for sizes, contained in zip(self.sizes, self.contained, strict=True):
            inner, outer = np.nonzero(contained)
            found.append(np.unique(-(-sizes[outer] // sizes[inner])))
        return tuple(found)


def orders(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every order, outermost first, in which one level can keep these operands."""
    return permutations(names)


def _choices(name: str, extent: int, factors: Mapping[int, Ints]) -> Iterator[Choice]:
    """Every choice of factors whose product is at most the extent of fan-out dim `name`."""
    if not factors:
        yield ()
        return
    (d, own), *rest = factors.items()
    for factor in (int(f) for f in own if f <= extent):
        for choice in _choices(name, extent // factor, dict(rest)):
            yield ((name, d, factor), *choice) if factor > 1 else choice


def _corners(rank: Rank) -> Iterator[frozenset[str]]:
    """Which dims of a rank are walked whole in one tile, the others in tiles of 1: the least lies at such a choice."""
    return (frozenset(chosen) for size in range(len(rank) + 1) for chosen in combinations(rank, size))


def _touched(rank: Rank, extents: Mapping[str, int], whole: frozenset[str]) -> int:
    width = 1 + sum(c * (extents[d] - 1) for d, c in rank.items() if d in whole)
    return width * prod(extents[d] for d in rank if d not in whole)


def _sizes(extent: int, wide: set[int]) -> Ints:
    """Divisors of `extent`, and the sizes of `Space.sizes` for fan-outs of the extents `wide`."""
    seeds = {1} | wide | {-(-extent // -(-extent // x)) for x in wide}
    found = {*_divisors(extent).tolist(), -(-extent // 2), -(-extent // 3)}
    for seed in seeds:
        found |= {seed << i for i in range((extent // seed).bit_length())}
    return np.array(sorted(size for size in found if size <= extent), np.int64)


def _divisors(extent: int) -> Ints:
    small = [d for d in range(1, int(extent**0.5) + 1) if extent % d == 0]
    return np.array(sorted({*small, *(extent // d for d in small)}), np.int64)
