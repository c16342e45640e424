"""Where the zeros of a tensor are, and what storing the rest takes: density models and formats, as values.

Tiles are runs of consecutive elements that start at a multiple of their extent. Formats store matrices row by row;
their bits are exact, and `encode` really writes them.
Source: Wu et al. 2022, "Sparseloop", for the terms; each formula is proved in tests/property/test_densities.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, comb
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from aisys.errors import BadInput
from aisys.frozen import FrozenMap

Bits = NDArray[np.uint8]


class Density(Protocol):
    """How likely it is that elements are stored."""

    @property
    def density(self) -> float:
        """The share of non-zeros."""
        ...

    def empty_share(self, tile: int) -> float:
        """The share of tiles of `tile` elements that hold no non-zero: what skipping leaves out."""
        ...


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every element is non-zero with probability `density`, whatever the others are."""

    density: float

    def __post_init__(self) -> None:
        _check_share(self.density)

    def empty_share(self, tile: int) -> float:
        """All of a tile's elements are zero at once."""
        return float((1 - self.density) ** tile)


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

    def empty_share(self, tile: int) -> float:
        """A tile inside a group is empty when all n are outside it. Raises BadInput where tiles straddle groups."""
        if tile % self.m == 0:
            return 0.0
        if self.m % tile:
            raise BadInput(f"tiles of {tile} straddle the groups of {self.n}:{self.m}; use a divisor or a multiple")
        return comb(self.m - tile, self.n) / comb(self.m, self.n)


@dataclass(frozen=True, slots=True)
class Blocks:
    """`block` consecutive elements are all non-zero with probability `density`, or all zero."""

    block: int
    density: float

    def __post_init__(self) -> None:
        _check_share(self.density)
        if self.block < 1:
            raise BadInput(f"density: blocks of {self.block}; at least 1")

    def empty_share(self, tile: int) -> float:
        """All blocks of the tile are zero. Raises BadInput where tiles straddle blocks."""
        if tile % self.block and self.block % tile:
            raise BadInput(f"tiles of {tile} straddle blocks of {self.block}; use a divisor or a multiple")
        return float((1 - self.density) ** ceil(tile / self.block))


@dataclass(frozen=True, slots=True)
class Histogram:
    """What was counted in a real tensor. shares: tile to the share of tiles with 0, 1, 2, ... non-zeros."""

    shares: FrozenMap[int, tuple[float, ...]]

    @classmethod
    def of(cls, array: NDArray[Any], tiles: Iterable[int]) -> Self:
        """The histogram of `array`, read in order, for each of `tiles`, which divide it. Raises BadInput elsewhere."""
        pattern, found = np.asarray(array).reshape(-1) != 0, {}
        for tile in tiles:
            if tile < 1 or not pattern.size or pattern.size % tile:
                raise BadInput(f"a histogram of {pattern.size} elements in tiles of {tile}; use a divisor of it")
            counts = np.bincount(pattern.reshape(-1, tile).sum(1), minlength=tile + 1)
            found[tile] = tuple((counts / counts.sum()).tolist())
        if not found:
            raise BadInput("a histogram of no tiles; name one extent at least")
        return cls(FrozenMap(found))

    @property
    def density(self) -> float:
        """The mean over the tiles of any extent."""
        tile, shares = next(iter(self.shares.items()))
        return float(np.arange(tile + 1) @ np.array(shares) / tile)

    def empty_share(self, tile: int) -> float:
        """Raises BadInput for an extent that was not counted."""
        if tile not in self.shares:
            known = ", ".join(map(str, self.shares))
            raise BadInput(f"tiles of {tile} were not counted in this tensor, those of {known} were; count them too")
        return self.shares[tile][0]


def _check_share(density: float) -> None:
    if not 0 <= density <= 1:
        raise BadInput(f"density {density:g}; give 0 to 1")


class Format(Protocol):
    """A way to store a matrix of integers of `value_bits` bits, zeros left out."""

    def num_bits(self, pattern: NDArray[np.bool_], value_bits: int) -> int:
        """Exactly what `encode` takes for a matrix with non-zeros at `pattern`."""
        ...

    def expected_bits(self, shape: tuple[int, int], density: Density, value_bits: int) -> float:
        """The mean over matrices of that density."""
        ...

    def encode(self, matrix: NDArray[Any], value_bits: int) -> Bits:
        """The bits themselves, one per entry of the array."""
        ...

    def decode(self, stored: Bits, shape: tuple[int, int], value_bits: int) -> NDArray[np.int64]:
        """The matrix again."""
        ...


@dataclass(frozen=True, slots=True)
class Bitmap:
    """One bit per element, then the non-zeros."""

    def num_bits(self, pattern: NDArray[np.bool_], value_bits: int) -> int:
        """Elements, and bits of the values."""
        return pattern.size + int(pattern.sum()) * value_bits

    def expected_bits(self, shape: tuple[int, int], density: Density, value_bits: int) -> float:
        """Exact for every density."""
        return shape[0] * shape[1] * (1 + density.density * value_bits)

    def encode(self, matrix: NDArray[Any], value_bits: int) -> Bits:
        """The map row by row, then the values."""
        flat = matrix.reshape(-1)
        return np.concatenate([(flat != 0).astype(np.uint8), _written(flat[flat != 0], value_bits)])

    def decode(self, stored: Bits, shape: tuple[int, int], value_bits: int) -> NDArray[np.int64]:
        """Values at the places of the map."""
        size = shape[0] * shape[1]
        flat = np.zeros(size, np.int64)
        flat[stored[:size] == 1] = _read(stored[size:], value_bits)
        return flat.reshape(shape)


@dataclass(frozen=True, slots=True)
class Rlc:
    """Pairs of (zeros before, value); a run that `run_bits` cannot count is broken by a pair of value zero.

    Zeros after the last value are not stored. Source: Chen et al. 2017 (Eyeriss) with 5 bits, Han et al. 2016 with 4.
    """

    run_bits: int = 5

    def num_bits(self, pattern: NDArray[np.bool_], value_bits: int) -> int:
        """One pair per non-zero, and one per 2^run_bits zeros before it."""
        gaps = np.diff(np.flatnonzero(pattern.reshape(-1)), prepend=-1) - 1
        return int(len(gaps) + (gaps >> self.run_bits).sum()) * (self.run_bits + value_bits)

    def expected_bits(self, shape: tuple[int, int], density: Density, value_bits: int) -> float:
        """Exact for Uniform. Raises BadInput for others, whose runs are not known: encode a tensor instead."""
        if not isinstance(density, Uniform):
            raise BadInput(f"the runs of {density} are not known; encode a real tensor, or use Uniform")
        size, share, longest = shape[0] * shape[1], density.density, 2**self.run_bits
        before = np.arange(0, size, longest)
        pairs = float(((size - before) * share * (1 - share) ** before).sum())
        return pairs * (self.run_bits + value_bits)

    def encode(self, matrix: NDArray[Any], value_bits: int) -> Bits:
        """The pairs, run first."""
        flat, longest = matrix.reshape(-1), 2**self.run_bits - 1
        runs, values, zeros = [], [], 0
        last = np.flatnonzero(flat).max(initial=-1)
        for value in flat[: last + 1].tolist():
            if value == 0 and zeros < longest:
                zeros += 1
                continue
            runs.append(zeros)
            values.append(value)
            zeros = 0
        pairs = _written(np.array(runs, np.int64), self.run_bits).reshape(-1, self.run_bits)
        return np.hstack([pairs, _written(np.array(values, np.int64), value_bits).reshape(-1, value_bits)]).reshape(-1)

    def decode(self, stored: Bits, shape: tuple[int, int], value_bits: int) -> NDArray[np.int64]:
        """Values behind their runs."""
        pairs = stored.reshape(-1, self.run_bits + value_bits)
        flat = np.zeros(shape[0] * shape[1], np.int64)
        places = np.cumsum(_read(pairs[:, : self.run_bits], self.run_bits, is_signed=False) + 1) - 1
        flat[places] = _read(pairs[:, self.run_bits :], value_bits)
        return flat.reshape(shape)


@dataclass(frozen=True, slots=True)
class Csr:
    """Where each row starts, then the column of every value, then the values, in just enough bits for the shape."""

    def num_bits(self, pattern: NDArray[np.bool_], value_bits: int) -> int:
        """Starts of all rows and the end, columns, values."""
        pointer, column = _csr_bits(pattern.shape)
        return int(pattern.shape[0] + 1) * pointer + int(pattern.sum()) * (column + value_bits)

    def expected_bits(self, shape: tuple[int, int], density: Density, value_bits: int) -> float:
        """Exact for every density."""
        pointer, column = _csr_bits(shape)
        return (shape[0] + 1) * pointer + shape[0] * shape[1] * density.density * (column + value_bits)

    def encode(self, matrix: NDArray[Any], value_bits: int) -> Bits:
        """Starts, columns, values."""
        pointer, column = _csr_bits(matrix.shape)
        rows, columns = np.nonzero(matrix)
        starts = np.searchsorted(rows, np.arange(len(matrix) + 1))
        return np.concatenate(
            [_written(starts, pointer), _written(columns, column), _written(matrix[rows, columns], value_bits)]
        )

    def decode(self, stored: Bits, shape: tuple[int, int], value_bits: int) -> NDArray[np.int64]:
        """Values at their rows and columns."""
        pointer, column = _csr_bits(shape)
        head = (shape[0] + 1) * pointer
        starts = _read(stored[:head], pointer, is_signed=False)
        body = head + int(starts[-1]) * column
        matrix = np.zeros(shape, np.int64)
        rows = np.repeat(np.arange(shape[0]), np.diff(starts))
        matrix[rows, _read(stored[head:body], column, is_signed=False)] = _read(stored[body:], value_bits)
        return matrix


@dataclass(frozen=True, slots=True)
class Grouped:
    """`n` places of every `m` consecutive elements of a row, each with its index in the group: N:M as GPUs store it."""

    n: int = 2
    m: int = 4

    def num_bits(self, pattern: NDArray[np.bool_], value_bits: int) -> int:
        """The same for every pattern that fits. Raises BadInput where a group holds more than n."""
        groups = _groups(pattern, self.m)
        if groups.sum(1).max(initial=0) > self.n:
            raise BadInput(
                f"a group of {self.m} holds {groups.sum(1).max()} non-zeros; {self.n}:{self.m} stores {self.n}"
            )
        return len(groups) * self.n * (_index_bits(self.m) + value_bits)

    def expected_bits(self, shape: tuple[int, int], density: Density, value_bits: int) -> float:
        """Of the shape alone."""
        return shape[0] * (shape[1] // self.m) * self.n * (_index_bits(self.m) + value_bits)

    def encode(self, matrix: NDArray[Any], value_bits: int) -> Bits:
        """Indices, then values; a group with fewer non-zeros stores zeros of the places after them."""
        self.num_bits(matrix != 0, value_bits)
        groups = _groups(matrix, self.m)
        order = np.sort(np.argsort(groups == 0, axis=1, kind="stable")[:, : self.n], axis=1)
        values = np.take_along_axis(groups, order, axis=1)
        return np.concatenate(
            [_written(order.reshape(-1), _index_bits(self.m)), _written(values.reshape(-1), value_bits)]
        )

    def decode(self, stored: Bits, shape: tuple[int, int], value_bits: int) -> NDArray[np.int64]:
        """Values at their places in the groups."""
        groups = np.zeros((shape[0] * shape[1] // self.m, self.m), np.int64)
        head = len(groups) * self.n * _index_bits(self.m)
        order = _read(stored[:head], _index_bits(self.m), is_signed=False).reshape(-1, self.n)
        np.put_along_axis(groups, order, _read(stored[head:], value_bits).reshape(-1, self.n), axis=1)
        return groups.reshape(shape)


def _groups(matrix: NDArray[Any], m: int) -> NDArray[Any]:
    if matrix.shape[1] % m:
        raise BadInput(f"rows of {matrix.shape[1]} elements hold no whole number of groups of {m}")
    return matrix.reshape(-1, m)


def _index_bits(extent: int) -> int:
    """Bits that tell `extent` places apart, one at least."""
    return max(1, (extent - 1).bit_length())


def _csr_bits(shape: tuple[int, ...]) -> tuple[int, int]:
    """Bits of a row's start and of a column."""
    return _index_bits(shape[0] * shape[1] + 1), _index_bits(shape[1])


def _written(values: NDArray[Any], width: int) -> Bits:
    """Two's complement of `width` bits each, the most significant first."""
    shifts = np.arange(width - 1, -1, -1)
    return (np.asarray(values, np.int64)[:, None] >> shifts & 1).astype(np.uint8).reshape(-1)


def _read(stored: Bits, width: int, *, is_signed: bool = True) -> NDArray[np.int64]:
    """What `_written` wrote."""
    weights = 2 ** np.arange(width - 1, -1, -1)
    if is_signed:
        weights[0] = -weights[0]
    return stored.reshape(-1, width).astype(np.int64) @ weights
