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
from itertools import chain, combinations, permutations, product
from math import prod

import numpy as np
from numpy.typing import NDArray

from aisys.cost.loop_nest.einsum import Einsum, Operand
from aisys.cost.loop_nest.hierarchy import Hierarchy, Level
from aisys.frozen import FrozenMap

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Space:
    """All canonical mappings of an einsum on a machine.

    must: level to the operands that it has to keep; others it may keep. is_filled: fan-outs take as many units as they
    can, the outermost first. shared: operands that are exchanged with other einsums, by name; see `fusion`.
    """

    einsum: Einsum
    machine: Hierarchy
    must: FrozenMap[str, frozenset[str]] = field(default_factory=FrozenMap)
    is_filled: bool = False
    shared: frozenset[str] = frozenset()
    children_begin: bool = False

    @cached_property
    def dims(self) -> tuple[str, ...]:
        """Names of the dims, in order."""
        return self.einsum.dims

    @cached_property
    def sizes(self) -> tuple[Ints, ...]:
        """The tile sizes of each dim: the divisors of its extent, ascending."""
        return tuple(_divisors(self.einsum.extents[dim]) for dim in self.dims)

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

    def tiles(self, index: Ints) -> NDArray[np.float64]:
        """Tile extents, [rows, dims]."""
        return np.stack([sizes[index[:, d]] for d, sizes in enumerate(self.sizes)], axis=1).astype(float)

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

    def num_tiles(self, index: Ints) -> NDArray[np.float64]:
        """Tiles that the einsum is made of, [rows]."""
        tiles: NDArray[np.float64] = self.tiles(index).prod(axis=1)
        return float(self.einsum.num_macs) / tiles

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

    def spreads(self, level: Level) -> list[tuple[tuple[tuple[str, int, int], ...], ...]]:
        """Per fan-out dim of a level, its choices: each a tuple of (fan-out dim, dim, factor) with factor above 1."""
        return [self._spreads(level, name, extent) for name, extent in level.fanout.items()]

    def _spreads(self, level: Level, name: str, extent: int) -> tuple[tuple[tuple[str, int, int], ...], ...]:
        fixed = {o.name for o in self.einsum.operands if o.role == level.reuse.get(name)}
        free = [d for d in range(len(self.dims)) if not any(d in self.moves[o] for o in fixed)]
        options = [[int(f) for f in self.sizes[d] if f <= extent] for d in free]
        return tuple(
            tuple((name, d, f) for d, f in zip(free, factors, strict=True) if f > 1)
            for factors in product(*options)
            if prod(factors) <= extent
        )  # fmt: skip


def orders(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every order, outermost first, in which one level can keep these operands."""
    return permutations(names)


def _divisors(extent: int) -> Ints:
    small = [d for d in range(1, int(extent**0.5) + 1) if extent % d == 0]
    return np.array(sorted({*small, *(extent // d for d in small)}), np.int64)
