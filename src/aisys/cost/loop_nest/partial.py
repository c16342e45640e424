"""Partial mappings, from the arithmetic units outwards: a table of rows, one per inner nest that may still be best.

Each row is a tile (what the inner nest covers of every dim) and what covering the whole einsum with such tiles costs
inside. As the tiles divide the extents, the work inside a tile times the number of tiles does not depend on how the
loops outside are arranged; so of two rows with the same tile, one that is no better anywhere can be dropped, and the
best mapping is still found.

Columns, float64 [rows]: `joule` inside so far; `busy`, cycles of the busiest finished part, divided over the units so
far; `away:OPERAND`, elements that the innermost level asks of the next one outside; `read`, `written`, `used`, bits of
the level that is being arranged; `waiting`, cycles in which single buffers refill, divided like `busy`, to which they
come at last; `above`, `below`, bits of the shared level outside and inside a fused loop; `reuse` names more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]
TIE = 1e-12
"""Relative difference below which two costs are one: the rounding of float64 sums."""

INNERMOST = 1_000

Columns = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What the newest step of a table did: to which operand or level, and which dims of the tiles may have grown."""

    kind: str
    name: str = ""
    dims: tuple[int, ...] = ()
    level: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Partials:
    """`index`, int64 [rows, dims], points into the tile sizes of each dim; `origin` into the rows of `inner`."""

    index: Ints
    columns: Columns
    origin: Ints
    step: Step
    inner: "Partials | None" = None

    def __len__(self) -> int:
        return len(self.index)

    def child(self, name: str) -> int:
        """The outermost level so far that keeps operand `name`; a large number for none."""
        table: Partials | None = self
        while table is not None:
            if table.step.kind == "keep" and table.step.name == name:
                return table.step.level
            table = table.inner
        return INNERMOST

    def next(self, rows: Ints, step: Step, *, index: Ints | None = None, columns: Columns | None = None) -> "Partials":
        """The table after one more step: row i continues row `rows[i]` of this one."""
        return Partials(
            self.index[rows] if index is None else index,
            {name: value[rows] for name, value in self.columns.items()} if columns is None else columns,
            rows, step, self,
        )  # fmt: skip

    def changed(self, step: Step, **columns: NDArray[np.float64]) -> "Partials":
        """The same rows with other columns."""
        everything = np.arange(len(self))
        return Partials(self.index, {**self.columns, **columns}, everything, step, self)

    def kept(self, rows: Ints) -> "Partials":
        """Some of the rows of the same step."""
        return Partials(
            self.index[rows], {name: value[rows] for name, value in self.columns.items()}, self.origin[rows],
            self.step, self.inner,
        )  # fmt: skip


def pareto(keys: Ints, columns: Sequence[NDArray[np.float64]]) -> Ints:
    """The rows that no other row of the same key equals or beats in every column; of equal rows, the first.

    Ordered by their sums, a row can only be beaten by those before it.
    """
    values = np.stack(columns, axis=1)
    order = np.lexsort((values.sum(axis=1), keys))
    is_kept = np.empty(len(keys), np.bool_)
    _unbeaten(keys[order], values[order], is_kept)
    return order[is_kept]


@njit(cache=True)
def _unbeaten(keys, values, is_kept):  # type: ignore[no-untyped-def]  # compiled
    num_columns = values.shape[1]
    front = np.empty(len(keys), np.int64)
    size = 0
    for row in range(len(keys)):
        if row == 0 or keys[row] != keys[row - 1]:
            size = 0
        is_kept[row] = True
        for i in range(size):
            other = front[i]
            is_beaten = True
            for column in range(num_columns):
                best = values[other, column]
                if values[row, column] < best - TIE * abs(best):
                    is_beaten = False
                    break
            if is_beaten:
                is_kept[row] = False
                break
        if is_kept[row]:
            front[size] = row
            size += 1
