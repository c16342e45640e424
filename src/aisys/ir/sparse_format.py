"""What storing a matrix takes whose zeros are left out: formats, as values.

Matrices are stored row by row. The bits are exact: `encode` really writes them, and `decode` reads them back.
Source: Wu et al. 2022, "Sparseloop", for the terms; each formula is proved in tests/property/test_densities.py.
"""

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from aisys.errors import BadInput, unknown_name
from aisys.ir.density import Density, Histogram, NOfM, Periodic

Bits = NDArray[np.uint8]

NEGLIGIBLE = 1e-18
"""Probability below which longer runs of zeros are no longer counted."""


class Format(Protocol):
    """A way to store a matrix of integers of `value_bits` bits, zeros left out.

    is_even: on average every element takes the same, whatever the shape of the matrix is.
    """

    is_even: ClassVar[bool]

    def num_bits(self, pattern: NDArray[np.bool_], value_bits: int) -> int:
        """Exactly what `encode` takes for a matrix with non-zeros at `pattern`."""
        ...

    def expected_bits(self, shape: tuple[int, int], density: Density, value_bits: int) -> float:
        """The mean over matrices of that density; with values of 0 bits, what says where they stand."""
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

    is_even: ClassVar[bool] = True

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
    is_even: ClassVar[bool] = False

    def num_bits(self, pattern: NDArray[np.bool_], value_bits: int) -> int:
        """One pair per non-zero, and one per 2^run_bits zeros before it."""
        gaps = np.diff(np.flatnonzero(pattern.reshape(-1)), prepend=-1) - 1
        return int(len(gaps) + (gaps >> self.run_bits).sum()) * (self.run_bits + value_bits)

    def expected_bits(self, shape: tuple[int, int], density: Density, value_bits: int) -> float:
        """One pair for each non-zero, and one more for every 2^run_bits zeros that lie right before it.

        A Histogram is cut into matrices of that shape, and they are counted.
        """
        if isinstance(density, Histogram):
            return density.mean(shape, lambda pattern: self.num_bits(pattern, value_bits))
        places = cast(Periodic, density)
        size, period, pairs = shape[0] * shape[1], places.period, 0.0
        for zeros in range(0, size, 2**self.run_bits):
            left = size - zeros
            starts = range(min(period, left))
            runs = [places.empty_at(start, zeros) for start in starts]
            if max(runs) < NEGLIGIBLE:
                break
            for start, run in zip(starts, runs, strict=True):
                pairs += (run - places.empty_at(start, zeros + 1)) * -(-(left - start) // period)
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

    is_even: ClassVar[bool] = False

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
    is_even: ClassVar[bool] = True

    def __post_init__(self) -> None:
        NOfM(self.n, self.m)

    def num_bits(self, pattern: NDArray[np.bool_], value_bits: int) -> int:
        """The same for every pattern that fits. Raises BadInput where a group holds more than n."""
        groups = _groups(pattern, self.m)
        if groups.sum(1).max(initial=0) > self.n:
            raise BadInput(
                f"a group of {self.m} holds {groups.sum(1).max()} non-zeros; {self.n}:{self.m} stores {self.n}"
            )
        return len(groups) * self.n * (_index_bits(self.m) + value_bits)

    def expected_bits(self, shape: tuple[int, int], density: Density, value_bits: int) -> float:
        """Of the shape alone. Raises BadInput for a density that does not leave m - n zeros in every group."""
        if isinstance(density, Histogram):
            self.num_bits(density.pattern, value_bits)
        elif not (isinstance(density, NOfM) and density.m == self.m and density.n <= self.n):
            raise BadInput(f"{self.n}:{self.m} cannot store {density}; its density must be {self.n}:{self.m}, or less")
        return shape[0] * shape[1] * self.n / self.m * (_index_bits(self.m) + value_bits)

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


FORMATS = ("bitmap", "rlc", "csr", "2:4")


def read_format(text: str) -> Format:
    """What `bitmap`, `csr`, `rlc` (runs of 5 bits), `rlc4` or `2:4` mean. Raises UnknownName for anything else.

    >>> read_format("rlc4"), read_format("1:4")
    (Rlc(run_bits=4), Grouped(n=1, m=4))
    """
    if text in ("bitmap", "csr"):
        return Bitmap() if text == "bitmap" else Csr()
    if runs := re.fullmatch(r"rlc([1-9]|1[0-6])?", text):
        return Rlc(int(runs[1] or 5))
    if kept := re.fullmatch(r"([1-9]\d?):([1-9]\d?)", text):
        return Grouped(int(kept[1]), int(kept[2]))
    raise unknown_name("format", text, FORMATS)


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
