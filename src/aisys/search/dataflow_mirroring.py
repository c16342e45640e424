"""Up to four networks on one weight-stationary grid, with the best of all cuts.

Activations that enter from both sides let two networks stand side by side with a boundary at any column; partial sums
that leave at both ends let them stand one above the other with a boundary at any row. One cut goes through the whole
grid; the two strips are each cut once more, in the other direction, for there is no third side to enter from. All
cuts are searched by branch and bound over the place of the first one: a range of places is no better than the widest
strips of the range, and strips where more rows or columns never hurt.

Source: Dataflow Mirroring (DAC 2021). Not modelled: contention, for shares of the memory are fixed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from math import prod
from typing import Any

import numpy as np

from aisys.cost.systolic_array import sharing
from aisys.cost.types import Floats
from aisys.errors import BadInput, DoesNotFit, unknown_name
from aisys.ir import Graph
from aisys.machine import Device

OBJECTIVES = ("stp", "antt")
MAX_NETWORKS = 4

Strip = tuple[int, ...]
"""The networks of a strip: one, or two one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The rectangle of one network, and its times: here, and with the device to itself."""

    network: str
    row: int
    col: int
    rows: int
    cols: int
    time_s: float
    alone_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """The parts of a grid. num_cuts: ways to cut it; num_tried, num_bounded: first cuts whose strips were searched in
    full, and ranges of first cuts that were bounded."""

    parts: tuple[Part, ...]
    num_cuts: int = 1
    num_tried: int = 1
    num_bounded: int = 0

    @property
    def stp(self) -> float:
        """System throughput: the networks' progress, each relative to running alone, added up.

        Source: Eyerman and Eeckhout 2008 (IEEE Micro).
        """
        return sum(part.alone_s / part.time_s for part in self.parts)

    @property
    def antt(self) -> float:
        """Average normalised turnaround time: the mean slowdown. Source: Eyerman and Eeckhout 2008 (IEEE Micro)."""
        return sum(part.time_s / part.alone_s for part in self.parts) / len(self.parts)

    def as_dict(self) -> dict[str, Any]:
        """The document of `aisys share --json`, without the equal split."""
        names = ("network", "row", "col", "rows", "cols", "time_s", "alone_s")
        return {
            "stp": self.stp, "antt": self.antt, "num_cuts": self.num_cuts, "num_tried": self.num_tried,
            "num_bounded": self.num_bounded, "parts": [{n: getattr(part, n) for n in names} for part in self.parts],
        }  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Times:
    """Seconds of every network on every rectangle (arrays [rows + 1, cols + 1]), and alone on the whole device."""

    networks: tuple[str, ...]
    shared_s: tuple[Floats, ...]
    alone_s: tuple[float, ...]

    @classmethod
    def of(cls, graphs: Sequence[Graph], device: Device) -> "Times":
        """Raises BadInput for another number of networks than 1 to 4, Unsupported as `sharing.times_s`."""
        if not 1 <= len(graphs) <= MAX_NETWORKS:
            raise BadInput(f"{len(graphs)} networks on one array; dataflow mirroring has room for 1 to {MAX_NETWORKS}")
        share = sharing.share_of(device, len(graphs))
        once = {graph: sharing.times_s(graph, share) for graph in graphs}
        alone = {graph: sharing.whole_s(graph, device) for graph in graphs}
        return cls(tuple(g.name for g in graphs), tuple(once[g] for g in graphs), tuple(alone[g] for g in graphs))

    def gains(self, objective: str) -> list[Floats]:
        """What each network adds on each rectangle to a sum that is to be large. Raises UnknownName."""
        if objective not in OBJECTIVES:
            raise unknown_name("objective", objective, OBJECTIVES)
        pairs = zip(self.shared_s, self.alone_s, strict=True)
        return [alone / time if objective == "stp" else -time / alone for time, alone in pairs]

    def part(self, network: int, place: tuple[int, int, int, int]) -> Part:
        """Network number `network` on the rectangle `place`: first row and column, rows, columns."""
        row, col, rows, cols = place
        time_s = float(self.shared_s[network][rows, cols])
        return Part(
            network=self.networks[network], row=row, col=col, rows=rows, cols=cols, time_s=time_s,
            alone_s=self.alone_s[network],
        )  # fmt: skip


def share(graphs: Sequence[Graph], device: Device, *, objective: str = "stp") -> Sharing:
    """The best of all ways to cut the array of `device` for `graphs`, by stp or antt.

    Raises BadInput for no or more than four networks, Unsupported for a device that is not one weight-stationary
    grid with exact timing, DoesNotFit where the grid has too few rows or columns to be cut, UnknownName.

    >>> import aisys
    >>> best = share([aisys.read("alexnet"), aisys.read("resnet18")], aisys.device("systolic-32x32"))
    >>> [(part.row, part.col, part.rows, part.cols) for part in best.parts]
    [(0, 0, 32, 16), (0, 16, 32, 16)]
    """
    return best_cut(Times.of(graphs, device), objective)


def equal_split(graphs: Sequence[Graph], device: Device, *, objective: str = "stp") -> Sharing:
    """The baseline: quarters of the grid, of which two networks have two each, side by side or one above the other.

    A single network has the whole grid; of three, each has a quarter. Raises as `share`.
    """
    return equal_cut(Times.of(graphs, device), objective)


def equal_cut(times: Times, objective: str = "stp") -> Sharing:
    """As `equal_split`, of times at hand."""
    rows, cols = (side - 1 for side in times.shared_s[0].shape)
    high, wide = rows // 2, cols // 2
    quarters = [(0, 0, high, wide), (0, wide, high, wide), (high, 0, high, wide), (high, wide, high, wide)]
    splits = {
        1: [[(0, 0, rows, cols)]],
        2: [[(0, 0, high, cols), (high, 0, high, cols)], [(0, 0, rows, wide), (0, wide, rows, wide)]],
    }.get(len(times.networks), [quarters])  # fmt: skip
    gains = times.gains(objective)
    if min(high, wide) < 1 and len(gains) > 1:
        raise _too_small(rows, cols)
    places = max(splits, key=lambda split: sum(g[p[2], p[3]] for g, p in zip(gains, split, strict=False)))
    return Sharing(parts=tuple(times.part(n, place) for n, place in enumerate(places[: len(gains)])))


def best_cut(times: Times, objective: str = "stp") -> Sharing:
    """As `share`, of times at hand."""
    gains = times.gains(objective)
    rows, cols = (side - 1 for side in gains[0].shape)
    if len(gains) == 1:
        return Sharing(parts=(times.part(0, (0, 0, rows, cols)),))
    branches = [
        _Branch(gains if is_vertical else [g.T for g in gains], strips, is_vertical)
        for is_vertical in (True, False)
        for strips in _strips(len(gains))
    ]
    branches = [branch for branch in branches if branch.num_cuts]
    if not branches:
        raise _too_small(rows, cols)
    queue = [(-branch.bound(1, branch.width - 1), n, 1, branch.width - 1) for n, branch in enumerate(branches)]
    heapify(queue)
    best, found, num_tried, num_bounded = -np.inf, (0, 1), 0, len(queue)
    while queue and -queue[0][0] > best:
        _, n, low, high = heappop(queue)
        if low == high:
            num_tried += 1
            if (value := branches[n].value(low)) > best:
                best, found = value, (n, low)
            continue
        middle = (low + high) // 2
        for first, last in ((low, middle), (middle + 1, high)):
            num_bounded += 1
            heappush(queue, (-branches[n].bound(first, last), n, first, last))
    places = branches[found[0]].places(found[1])
    return Sharing(
        parts=tuple(times.part(n, places[n]) for n in sorted(places)), num_tried=num_tried, num_bounded=num_bounded,
        num_cuts=sum(branch.num_cuts for branch in branches),
    )  # fmt: skip


def _strips(num_networks: int) -> list[tuple[Strip, Strip]]:
    """Ways to divide the networks over the two strips; mirror images, which take as long, are left out."""
    ways: dict[int, list[tuple[Strip, Strip]]] = {
        2: [((0,), (1,))],
        3: [((0,), (1, 2)), ((1,), (0, 2)), ((2,), (0, 1))],
        4: [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))],
    }
    return ways[num_networks]


class _Branch:
    """One division of the networks over two strips, which a cut at some place along the second axis separates.

    gains: arrays [along the strips + 1, across + 1], transposed where the first cut is horizontal.
    """

    def __init__(self, gains: Sequence[Floats], strips: tuple[Strip, Strip], is_vertical: bool) -> None:
        self.gains, self.strips, self.is_vertical = gains, strips, is_vertical
        self.length = int(gains[0].shape[0]) - 1
        self.width = int(gains[0].shape[1]) - 1
        grown = [np.maximum.accumulate(np.maximum.accumulate(g, axis=0), axis=1) for g in gains]
        self._most = [self._column_best(grown, strip) for strip in strips]

    @property
    def num_cuts(self) -> int:
        """Ways to place the first and the further cuts."""
        return (self.width - 1) * prod(self.length - 1 for strip in self.strips if len(strip) == 2)

    def bound(self, low: int, high: int) -> float:
        """No first cut from `low` to `high` is better than this."""
        return float(self._most[0][high] + self._most[1][self.width - low])

    def value(self, cut: int) -> float:
        """The best with the first cut behind `cut` columns."""
        widths = (cut, self.width - cut)
        pairs = zip(self.strips, widths, strict=True)
        return float(sum(self._along(self.gains, strip, width).max() for strip, width in pairs))

    def places(self, cut: int) -> dict[int, tuple[int, int, int, int]]:
        """Network to first row, first column, rows and columns of its part in the best with that first cut."""
        found = {}
        for strip, start, width in zip(self.strips, (0, cut), (cut, self.width - cut), strict=True):
            length = self.length if len(strip) == 1 else 1 + int(self._along(self.gains, strip, width).argmax())
            spans = [(0, length), (length, self.length - length)]
            for network, (first, extent) in zip(strip, spans, strict=False):
                place = (first, start, extent, width)
                found[network] = place if self.is_vertical else (start, first, width, extent)
        return found

    def _along(self, gains: Sequence[Floats], strip: Strip, width: int) -> Floats:
        """The gain of a strip so wide for each place of its own cut; of a single network, once."""
        if len(strip) == 1:
            return gains[strip[0]][self.length :, width]
        first, second = (gains[n][1 : self.length, width] for n in strip)
        return np.asarray(first + second[::-1])

    def _column_best(self, grown: Sequence[Floats], strip: Strip) -> Floats:
        """The best of a strip of every width: array [width + 1]."""
        if self.length == 1 and len(strip) == 2:
            return np.full(self.width + 1, -np.inf)
        return np.array([self._along(grown, strip, width).max() for width in range(self.width + 1)])


def _too_small(rows: int, cols: int) -> DoesNotFit:
    return DoesNotFit(f"an array of {rows} x {cols} cannot be cut for so many networks; use one of at least 2 x 2")
