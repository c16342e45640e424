"""Where the zeros of a tensor are: density models, as values.

Tiles are runs of consecutive elements; a matrix is read row by row, its rows along the dims of a sum.
Source: Wu et al. 2022, "Sparseloop", for the terms; each formula is proved in tests/property/test_densities.py.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from math import comb, lcm
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from aisys.errors import BadInput

Pattern = NDArray[np.bool_]


class Density(Protocol):
    """How likely it is that elements are zero."""

    @property
    def density(self) -> float:
        """The share of non-zeros."""
        ...

    def empty_share(self, tile: int) -> float:
        """The share of tiles of `tile` elements that hold no non-zero: what skipping leaves out."""
        ...


class Periodic(Density, Protocol):
    """A density whose elements look the same every `period` places."""

    @property
    def period(self) -> int:
        """After how many elements everything repeats."""
        ...

    def empty_at(self, start: int, extent: int) -> float:
        """How likely `extent` elements from place `start` on are all zero."""
        ...


def _check_share(density: float) -> None:
    if not 0 <= density <= 1:
        raise BadInput(f"density {density:g}; give 0 to 1")


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every element is non-zero with probability `density`, whatever the others are."""

    density: float

    def __post_init__(self) -> None:
        _check_share(self.density)

    @property
    def period(self) -> int:
        """Every place is like every other."""
        return 1

    def empty_at(self, start: int, extent: int) -> float:
        """All of them are zero at once."""
        return float((1 - self.density) ** extent)

    def empty_share(self, tile: int) -> float:
        """The same at every place."""
        return self.empty_at(0, tile)


DENSE = Uniform(1.0)


@dataclass(frozen=True, slots=True)
class NOfM:
    """Of every `m` consecutive elements `n` are non-zero, at places that are equally likely."""

    n: int
    m: int

    def __post_init__(self) -> None:
        if not 1 <= self.n <= self.m:
            raise BadInput(f"density {self.n}:{self.m}: keep 1 to {self.m} of every {self.m}")

    @property
    def density(self) -> float:
        """n / m."""
        return self.n / self.m

    @property
    def period(self) -> int:
        """One group."""
        return self.m

    def empty_at(self, start: int, extent: int) -> float:
        """In every group that the run touches, all n lie outside it."""
        share, end = 1.0, start + extent
        while start < end:
            here = min(end, (start // self.m + 1) * self.m) - start
            share *= comb(self.m - here, self.n) / comb(self.m, self.n)
            if not share:
                return 0.0
            start += here
        return share

    def empty_share(self, tile: int) -> float:
        """The mean over the places where tiles begin in their groups."""
        return _mean_empty(self, tile)


@dataclass(frozen=True, slots=True)
class Blocks:
    """`block` consecutive elements are all non-zero with probability `density`, or all zero."""

    block: int
    density: float

    def __post_init__(self) -> None:
        _check_share(self.density)
        if self.block < 1:
            raise BadInput(f"density: blocks of {self.block}; at least 1")

    @property
    def period(self) -> int:
        """One block."""
        return self.block

    def empty_at(self, start: int, extent: int) -> float:
        """All blocks that the run touches are zero."""
        touched = -(-(start + extent) // self.block) - start // self.block if extent else 0
        return float((1 - self.density) ** touched)

    def empty_share(self, tile: int) -> float:
        """The mean over the places where tiles begin in their blocks."""
        return _mean_empty(self, tile)


def read_density(text: str) -> Density:
    """What `0.3`, `2:4` or `block:16:0.3` mean. Raises BadInput for anything else.

    >>> read_density("2:4"), read_density("block:16:0.3").density
    (NOfM(n=2, m=4), 0.3)
    """
    first, *rest = text.split(":")
    try:
        if first == "block" and len(rest) == 2:
            return Blocks(int(rest[0]), float(rest[1]))
        if len(rest) == 1:
            return NOfM(int(first), int(rest[0]))
        if not rest:
            return Uniform(float(first))
    except ValueError:
        pass
    raise BadInput(f"density {text[:60]!r}; write a share such as 0.3, N:M such as 2:4, or block:16:0.3")


MAX_PIECES = 4096
"""Pieces of a real tensor that are counted, spread evenly over it."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """What is counted in a real tensor: `packed` has a bit per element of its `rows` x `cols`, set where not zero."""

    rows: int
    cols: int
    packed: bytes = field(repr=False)

    @classmethod
    def of(cls, array: NDArray[Any]) -> Self:
        """The histogram of `array`: the first axis counts rows. Raises BadInput where it is empty."""
        pattern = np.atleast_2d(np.asarray(array) != 0)
        if not pattern.size:
            raise BadInput(f"a histogram of a tensor of shape {np.shape(array)}; it needs elements")
        return cls(len(pattern), pattern[0].size, np.packbits(pattern).tobytes())

    @property
    def pattern(self) -> Pattern:
        """Where the tensor is not zero, [rows, cols]."""
        return _unpacked(self)

    @property
    def density(self) -> float:
        """The share of non-zeros."""
        return int.from_bytes(self.packed).bit_count() / (self.rows * self.cols)

    def shares(self, tile: int) -> tuple[float, ...]:
        """The share of tiles with 0, 1, 2, ... non-zeros; elements after the last whole tile are left out."""
        flat = self.pattern.reshape(-1)
        if not 1 <= tile <= flat.size:
            raise BadInput(f"tiles of {tile} in a tensor of {flat.size} elements; use 1 to {flat.size}")
        whole = flat[: flat.size // tile * tile].reshape(-1, tile)
        counts = np.bincount(whole.sum(1), minlength=tile + 1)
        return tuple((counts / counts.sum()).tolist())

    def empty_share(self, tile: int) -> float:
        """Counted."""
        return self.shares(tile)[0]

    def mean(self, shape: tuple[int, int], measure: Callable[[Pattern], float]) -> float:
        """`measure` of a piece of `shape`, averaged over pieces of the tensor; a larger piece counts in proportion."""
        pattern = self.pattern
        high, wide = min(shape[0], self.rows), min(shape[1], self.cols)
        across = self.cols // wide
        num = self.rows // high * across
        chosen = np.unique(np.linspace(0, num - 1, min(num, MAX_PIECES)).astype(int))
        corners = [(int(i) // across * high, int(i) % across * wide) for i in chosen]
        found = sum(measure(pattern[r : r + high, c : c + wide]) for r, c in corners)
        return found / len(corners) * (shape[0] * shape[1]) / (high * wide)


@lru_cache(maxsize=8)
def _unpacked(found: Histogram) -> Pattern:
    bits = np.unpackbits(np.frombuffer(found.packed, np.uint8), count=found.rows * found.cols)
    return bits.astype(bool).reshape(found.rows, found.cols)


def _mean_empty(density: Periodic, tile: int) -> float:
    starts = range(0, lcm(tile, density.period), tile)
    return sum(density.empty_at(start % density.period, tile) for start in starts) / len(starts)
