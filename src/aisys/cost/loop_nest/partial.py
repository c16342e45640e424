"""Partial mappings, from the arithmetic units outwards: a table of rows, one per inner nest that may still be best.

Each row is a tile (what the inner nest covers of every dim) and what covering the whole einsum with such tiles costs
inside. As the tiles divide the extents, the work inside a tile times the number of tiles does not depend on how the
loops outside are arranged; so of two rows with the same tile, one that is no better anywhere can be dropped, and the
best mapping is still found.

Columns, float64 [rows]: `joule` inside so far; `busy`, cycles of the busiest finished part, divided over the units so
far; `away:OPERAND`, elements that the innermost level asks of the next one outside; `read`, `written`, `used`, bits of
the level that is being arranged; `above`, `below`, bits of the shared level outside and inside a fused loop.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
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

    Each round keeps the best remaining row of every key (by the first column, then the next ones) and drops what it
    dominates, so there are as many rounds as the largest front has rows.
    """
    values = np.stack(columns, axis=1)
    order = np.lexsort((*reversed(columns), keys))
    keys, values = keys[order], values[order]
    left = np.arange(len(keys))
    kept: list[Ints] = []
    while len(left):
        group = keys[left]
        first = np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1])))
        kept.append(left[first])
        leader = np.repeat(first, np.diff(np.append(first, len(left))))
        current = values[left]
        best = current[leader]
        left = left[(current < best - TIE * np.abs(best)).any(axis=1)]
    return order[np.concatenate(kept)] if kept else order
