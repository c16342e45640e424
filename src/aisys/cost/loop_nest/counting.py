"""How many tiles there are, and how many elements they hold together, where factors need not divide the extents.

A dim is cut by a chain of loops, outermost first, into tiles of `tile` elements; tile number (i0, i1, ...) begins at
i0 w0 + i1 w1 + ... with weight w = tile x the factors inside. It is empty where it begins at or beyond the extent.
All arrays are [rows], one entry per mapping; counts are whole numbers in float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.cost.loop_nest.einsum import Rank

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Digit:
    """One loop of a chain. keep: whether its iterations count, else only the first one is looked at."""

    factor: Floats
    weight: Floats
    keep: bool | Mask


def num_tiles(extent: int, digits: Sequence[Digit], *, is_perfect: bool) -> Any:
    """How many tiles are not empty, over the kept loops of the chain, with the other loops at their first iteration.

    is_perfect: the factors of every row multiply to the extent exactly, so that no tile is empty.
    """
    if is_perfect:
        return _kept_product(digits)
    left: Any = float(extent)
    total: Any = 0.0
    for position, digit in enumerate(digits):
        inside = _kept_product(digits[position + 1 :])
        whole = np.minimum(np.floor(left / digit.weight), digit.factor)
        counted = total + whole * inside
        rest = np.where(whole == digit.factor, 0.0, left - whole * digit.weight)
        first = np.minimum(left, digit.weight)
        if digit.keep is True:
            total, left = counted, rest
        elif digit.keep is False:
            left = first
        else:
            total, left = np.where(digit.keep, counted, total), np.where(digit.keep, rest, first)
    return total + (left > 0)


def _kept_product(digits: Sequence[Digit]) -> Any:
    found: Any = 1.0
    for digit in digits:
        if digit.keep is True:
            found = found * digit.factor
        elif digit.keep is not False:
            found = found * np.where(digit.keep, digit.factor, 1.0)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """One dim of a rank, cut into `num` tiles of at most `tile` elements that cover `extent` together.

    num_slid: how many of them follow their predecessor by `step` elements on the same unit, which still holds it;
    None where none does.
    """

    extent: int
    tile: Any
    num: Any
    num_slid: Any = None
    step: Any = 1.0


def rank_elements(rank: Rank, cuts: dict[str, Cut]) -> Any:
    """Elements that all tiles of one rank bring in: their widths, less what a slid tile shares with its predecessor.

    A tile of widths t is 1 + sum of coefficient x (t - 1) wide, which is linear, so the sum over clipped tiles is
    exact.
    """
    all_tiles = _product(cuts[dim].num for dim in rank)
    total = all_tiles
    for dim, coefficient in rank.items():
        cut = cuts[dim]
        others = _product(cuts[other].num for other in rank if other != dim)
        total = total + coefficient * (cut.extent - cut.num) * others
    if len(rank) > 1:
        for dim in rank:
            if cuts[dim].num_slid is not None:
                total = total - cuts[dim].num_slid * _overlap(rank, dim, cuts)
    return total


def _overlap(rank: Rank, dim: str, cuts: dict[str, Cut]) -> Any:
    """What two neighbours along `dim` share, summed over the tiles of the other dims (all but the last are full)."""
    cut = cuts[dim]
    others = [other for other in rank if other != dim]
    total: Any = 0.0
    for is_last in product((False, True), repeat=len(others)):
        width: Any = 1.0 + rank[dim] * (cut.tile - 1.0 - cut.step)
        times: Any = 1.0
        for other, last in zip(others, is_last, strict=True):
            one = cuts[other]
            size = one.extent - (one.num - 1.0) * one.tile if last else one.tile
            width = width + rank[other] * (size - 1.0)
            times = times * (1.0 if last else one.num - 1.0)
        total = total + times * np.maximum(width, 0.0)
    return total


def _product(values: Any) -> Any:
    found: Any = 1.0
    for value in values:
        found = found * value
    return found
