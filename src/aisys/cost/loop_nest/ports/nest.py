"""The loop nests of a layer as columns: tiles at every depth, and where the content of a memory really changes.

Loops are columns, innermost first: `dims` [rows, loops] as codes into DIMS, `factors` of the same shape. A memory holds
the loops inside its cut. Loops just outside the cut that do not move the operand meet the same tile again, so the tile
stays for them too: the cut slides outwards to the next loop that moves it.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.cost.loop_nest.ports.array import Layer, PortedArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

DIMS = ("K", "C", "OX", "OY", "FX", "FY")
MOVES = {"weight": ("K", "C", "FX", "FY"), "input": ("C", "OX", "OY", "FX", "FY"), "output": ("K", "OX", "OY")}
"""Dims whose loops move an operand's tile."""

WHOLLY = {"weight": ("K", "C", "FX", "FY"), "input": ("C",), "output": ("K", "OX", "OY")}
"""Those of them that bring only new elements: a step along a window brings some of the old ones."""


@dataclass(frozen=True)
class Nests:
    """Rows of nests of one layer. cuts: role to one column of depths per memory but the outermost, innermost first."""

    layer: Layer
    array: PortedArray
    dims: Ints
    factors: Ints
    cuts: Mapping[str, tuple[Ints, ...]]

    def __len__(self) -> int:
        return len(self.factors)

    def of_dims(self, names: tuple[str, ...]) -> Mask:
        """Which loops run over one of these dims, [rows, loops]."""
        return np.array([name in names for name in DIMS])[self.dims]

    @cached_property
    def known(self) -> dict[Hashable, Any]:
        """What was worked out before and is asked for again."""
        return {}

    @cached_property
    def adding(self) -> Mask:
        """Loops that add to the same outputs, [rows, loops]."""
        return self.active & self.of_dims(("C", "FX", "FY"))

    @cached_property
    def active(self) -> Mask:
        """Loops of more than one step."""
        return self.factors > 1

    @cached_property
    def inside(self) -> Floats:
        """Steps of all loops inside each depth, [rows, loops + 1]."""
        return _products(self.factors.astype(float))

    @property
    def total(self) -> Floats:
        """Steps of the whole nest: cycles without a stall."""
        return self.inside[:, -1]

    @cached_property
    def tiles(self) -> dict[str, Floats]:
        """Extent of each dim inside each depth."""
        return {d: _products(np.where(self.dims == i, self.factors, 1).astype(float)) for i, d in enumerate(DIMS)}

    @cached_property
    def depths(self) -> dict[str, list[Ints]]:
        """Role to the depths at which its tile changes: at the unit itself, then for each memory, outermost last."""
        rows = np.arange(len(self))
        found = {}
        for role, own in self.cuts.items():
            following = self._next_move(role)
            end = np.full(len(self), self.factors.shape[1])
            found[role] = [following[:, 0], *(following[rows, cut] for cut in own), end]
        return found

    def _next_move(self, role: str) -> Ints:
        moving = self.active & self.of_dims(MOVES[role])
        depth = self.factors.shape[1]
        following = np.full((len(self), depth + 1), depth)
        for j in range(depth - 1, -1, -1):
            following[:, j] = np.where(moving[:, j], j, following[:, j + 1])
        return following

    def at(self, columns: Floats, depth: Ints) -> Floats:
        """One value per row: that of the row's depth."""
        found: Floats = columns[np.arange(len(columns)), depth]
        return found

    def periods(self, role: str) -> list[Floats]:
        """Cycles between changes: of the element at a unit, then of each memory's tile."""
        found = [self.at(self.inside, depth) for depth in self.depths[role]]
        return [np.ones(len(self)), *found[1:]] if role == "output" else found

    def tops(self, role: str) -> list[tuple[Floats, Floats]]:
        """For the unit and each memory: steps of its outermost loops in a row that move its tile, and that do not."""
        depths = self.depths[role]
        wholly, moving = self.of_dims(WHOLLY[role]), self.of_dims(MOVES[role])
        ones = np.ones(len(self))
        found = [(ones, ones)]
        for level, upper in enumerate(depths[1:]):
            lower = depths[level] if level else np.zeros(len(self), np.int64)
            found.append((self._run(lower, upper, wholly), self._run(lower, upper, ~moving)))
        return found

    def _run(self, lower: Ints, upper: Ints, wanted: Mask) -> Floats:
        """Steps of the outermost loops between two depths, as long as they are wanted."""
        found, going = np.ones(len(self)), np.ones(len(self), bool)
        for j in range(self.factors.shape[1] - 1, -1, -1):
            here = (j < upper) & (j >= lower) & self.active[:, j]
            going &= ~here | wanted[:, j]
            found = np.where(here & going, found * self.factors[:, j], found)
        return found

    def elements(self, role: str, level: int, units: tuple[float, float]) -> Floats:
        """Elements that memory `level` of a role holds; -1 is the unit. units: busy cols and rows."""
        key = (role, level, units)
        if key not in self.known:
            self.known[key] = np.ones(len(self)) if level < 0 else self._elements(role, level, units)
        found: Floats = self.known[key]
        return found

    def _elements(self, role: str, level: int, units: tuple[float, float]) -> Floats:
        depth = self.depths[role][level + 1]
        tile = {d: self.at(self.tiles[d], depth) for d in MOVES[role]}
        cols, rows = units if level >= self.array.inside[role] else (1.0, 1.0)
        if role == "weight":
            return np.round(tile["K"] * tile["C"] * tile["FX"] * tile["FY"] * cols * rows)
        if role == "output":
            return np.round(tile["K"] * tile["OX"] * tile["OY"] * cols)
        stride, (height, width) = self.layer.stride, self.layer.in_hw
        across = np.minimum(width, _window(stride, tile["OX"], tile["FX"]))
        down = np.minimum(height, _window(stride, tile["OY"], tile["FY"]))
        return np.round(tile["C"] * rows * across * down)

    def sums(self, depth: Ints) -> Mask:
        """Rows with a loop at or outside `depth` that adds to the same outputs."""
        outside = np.greater_equal(np.arange(self.factors.shape[1]), depth[:, None])
        return np.asarray((self.adding & outside).any(axis=1), bool)


def _products(factors: Floats) -> Floats:
    found = np.ones((factors.shape[0], factors.shape[1] + 1))
    np.cumprod(factors, axis=1, out=found[:, 1:])
    return found


def _window(stride: int, outputs: Floats, kernel: Floats) -> Floats:
    """Inputs that `outputs` windows of `kernel` elements touch along one axis."""
    found: Floats = outputs * kernel - np.maximum(0, kernel - stride) * (outputs - 1)
    return found
