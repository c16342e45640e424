"""What moves between two neighbouring levels of one operand, for every mapping of a table.

A unit holds one tile of an operand at a time. It fetches a tile whenever a loop steps that lies at or outside the
innermost loop which moves the tile; loops inside that one meet the same tile again. Where that innermost loop is also
the innermost of all, neighbouring tiles of a sliding window share elements, which stay. Any other step fetches the
whole tile: address generators do not remember what an outer loop left behind.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.cost.loop_nest.counting import Cut, Digit, Floats, num_tiles, rank_elements
from aisys.cost.loop_nest.einsum import Einsum, Operand
from aisys.cost.loop_nest.mapping import Loop, MappingTable


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """The loops of a table as columns: factors [loops][rows], and the tile of the loop's dim inside it, `weights`."""

    einsum: Einsum
    loops: tuple[Loop, ...]
    factors: tuple[Floats, ...]
    weights: tuple[Floats, ...]
    spans: tuple[Floats, ...]
    is_perfect: bool

    @classmethod
    def of(cls, einsum: Einsum, table: MappingTable) -> "Walk":
        """The walk of every mapping of `table`."""
        loops = table.nest.loops
        columns = tuple(np.ascontiguousarray(table.factors[:, i], np.float64) for i in range(len(loops)))
        inside: dict[str, Floats] = {dim: np.ones(len(table)) for dim in einsum.dims}
        weights: list[Floats] = []
        for loop, factor in zip(reversed(loops), reversed(columns), strict=True):
            weights.append(inside[loop.dim])
            inside[loop.dim] = inside[loop.dim] * factor
        weights.reverse()
        is_perfect = all(bool((inside[dim] == extent).all()) for dim, extent in einsum.extents.items())
        spans = tuple(weight * factor for weight, factor in zip(weights, columns, strict=True))
        return cls(einsum, loops, columns, tuple(weights), spans, is_perfect)

    def tile(self, depth: int, dim: str) -> Any:
        """Extent of `dim` in one tile inside the first `depth` loops, at most the whole extent."""
        for loop, span in zip(self.loops[depth:], self.spans[depth:], strict=True):
            if loop.dim == dim:
                return span if self.is_perfect else np.minimum(span, float(self.einsum.extents[dim]))
        return 1.0

    def digits(self, depth: int, dim: str, keep: Sequence[bool | NDArray[np.bool_]]) -> list[Digit]:
        """The chain of `dim` over the first `depth` loops."""
        return [
            Digit(self.factors[i], self.weights[i], keep[i])
            for i, loop in enumerate(self.loops[:depth])
            if loop.dim == dim
        ]

    def count(self, depth: int, dim: str, keep: Sequence[bool | NDArray[np.bool_]]) -> Any:
        """Non-empty tiles of `dim` over the kept loops among the first `depth`."""
        return num_tiles(self.einsum.extents[dim], self.digits(depth, dim, keep), is_perfect=self.is_perfect)

    def is_active(self, loop: int) -> NDArray[np.bool_]:
        """Whether a loop has more than one tile that is not empty, array [rows]."""
        if self.is_perfect:
            return np.asarray(self.factors[loop] > 1)
        extent = self.einsum.extents[self.loops[loop].dim]
        return np.asarray(np.minimum(self.spans[loop], float(extent)) > self.weights[loop])


@dataclass(frozen=True, slots=True, eq=False)
class Visits:
    """Which loops bring a new tile to a unit below the first `depth` loops.

    counted: one entry per loop, True, False or a mask [rows]. slid: loops whose step slides the tile; None for none.
    """

    depth: int
    counted: tuple[bool | NDArray[np.bool_], ...]
    slid: tuple[NDArray[np.bool_] | None, ...]


def visits(walk: Walk, operand: Operand, depth: int) -> Visits:
    """The visits of tiles of `operand` to units that keep it below the first `depth` loops."""
    has_window = any(len(rank) > 1 for rank in operand.ranks)
    counted: list[bool | NDArray[np.bool_]] = [True] * depth
    slid: list[NDArray[np.bool_] | None] = [None] * depth
    rows = len(walk.factors[0]) if walk.factors else 1
    is_moving = np.zeros(rows, bool)
    run = _Run(rows) if has_window else None
    for i in reversed(range(depth)):
        loop = walk.loops[i]
        if loop.is_spatial:
            continue
        active = walk.is_active(i)
        is_relevant = loop.dim in operand.dims
        if run is not None:
            slid[i] = run.take(walk, i, active & is_relevant, active)
        if is_relevant:
            is_moving = is_moving | active
        else:
            counted[i] = is_moving
    return Visits(depth, tuple(counted), tuple(slid))


class _Run:
    """The innermost active loop, and those of its dim that continue its steps without a break."""

    def __init__(self, rows: int) -> None:
        self.state = np.zeros(rows, np.int8)
        """0: no loop yet; 1: the run may go on; 2: it has ended."""
        self.dim = np.full(rows, -1)
        self.span = np.zeros(rows)

    def take(self, walk: Walk, loop: int, moves: NDArray[np.bool_], active: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether the loop belongs to the run, array [rows]. Called from the innermost loop outwards."""
        dim = walk.einsum.dims.index(walk.loops[loop].dim)
        starts = moves & (self.state == 0)
        goes_on = moves & (self.state == 1) & (self.dim == dim) & (self.span == walk.weights[loop])
        is_slid = starts | goes_on
        self.state = np.where(is_slid, 1, np.where(active, 2, self.state))
        self.dim = np.where(starts, dim, self.dim)
        self.span = np.where(is_slid, walk.spans[loop], self.span)
        return np.asarray(is_slid)


def moved(walk: Walk, operand: Operand, seen: Visits, shared: frozenset[int] = frozenset()) -> Any:
    """Elements of `operand` that all visits bring in, over all units, array [rows].

    shared: spatial loops along which one copy serves all units that want the same tile: what the level above reads.
    """
    keep = tuple(False if i in shared else kept for i, kept in enumerate(seen.counted))
    total: Any = 1.0
    for rank in operand.ranks:
        cuts = {dim: _cut(walk, dim, seen) for dim in rank}
        elements, share = rank_elements(rank, cuts), _distinct_share(walk, rank, seen.depth, shared)
        total = total * (elements if share is None else np.rint(elements * share))
    for dim in walk.einsum.dims:
        if dim not in operand.dims:
            total = total * walk.count(seen.depth, dim, keep)
    return total


def first_visits(walk: Walk, operand: Operand, depth: int) -> Any:
    """Distinct elements of `operand` at each unit, summed over all units below the first `depth` loops."""
    keep = tuple(loop.is_spatial for loop in walk.loops[:depth])
    total: Any = 1.0
    for rank in operand.ranks:
        for dim in rank:
            total = total * float(walk.einsum.extents[dim])
    for dim in walk.einsum.dims:
        if dim not in operand.dims:
            total = total * walk.count(depth, dim, keep)
    return total


def _cut(walk: Walk, dim: str, seen: Visits) -> Cut:
    extent = walk.einsum.extents[dim]
    everything = (True,) * seen.depth
    num = walk.count(seen.depth, dim, everything)
    tile = walk.tile(seen.depth, dim)
    if not any(s is not None for s, loop in zip(seen.slid, walk.loops, strict=False) if loop.dim == dim):
        return Cut(extent, tile, num)
    keep = tuple(True if s is None else ~s for s in seen.slid)
    runs = walk.count(seen.depth, dim, keep)
    return Cut(extent, tile, num, num - runs, _step(walk, dim, seen))


def _step(walk: Walk, dim: str, seen: Visits) -> Any:
    """How far the innermost slid loop of `dim` steps; 1 where none slides (and none is counted)."""
    step: Any = 1.0
    for i, loop in enumerate(walk.loops[: seen.depth]):
        slid = seen.slid[i]
        if loop.dim == dim and slid is not None:
            step = np.where(slid, walk.weights[i], step)
    return step


def _distinct_share(walk: Walk, rank: Any, depth: int, shared: frozenset[int]) -> Any:
    """The share of different tiles among those of one fan-out where two dims of a rank are spread over it, or None.

    Positions a i + b j coincide along diagonals, as those of filter rows and output rows of a row-stationary array do.
    Exact where the factors divide the extents.
    """
    share: Any = None
    if len(rank) < 2:
        return share
    by_level: dict[str, list[int]] = {}
    for i in sorted(shared):
        if i < depth and walk.loops[i].dim in rank:
            by_level.setdefault(walk.loops[i].over.rpartition(".")[0], []).append(i)
    for loops in by_level.values():
        if len({walk.loops[i].dim for i in loops}) == 2 and len(loops) == 2:
            first, second = loops
            share = _share_of_grid(walk, rank, first, second) * (1.0 if share is None else share)
    return share


def _share_of_grid(walk: Walk, rank: Any, first: int, second: int) -> Any:
    a, b = (rank[walk.loops[i].dim] * walk.weights[i] for i in (first, second))
    return distinct_share(a, b, walk.factors[first], walk.factors[second])


def distinct_share(a: Any, b: Any, num_a: Any, num_b: Any) -> Any:
    """The share of different ones among num_a x num_b tiles that begin at i a + j b."""
    divisor = np.gcd(np.asarray(a, np.int64), np.asarray(b, np.int64))
    twice = np.maximum(num_a - b / divisor, 0.0) * np.maximum(num_b - a / divisor, 0.0)
    return 1.0 - twice / (num_a * num_b)
