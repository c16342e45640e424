"""Reuse distances from a spatially sampled trace: which share of accesses a cache of any size would hold.

Source: Waldspurger et al. 2015 (SHARDS, FAST): lines are chosen by a hash, so every access to a chosen line is seen,
and distances among them scale with the inverse of the rate. Distances: Bennett and Kruskal 1975, on a binary tree.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bytes = NDArray[np.int8]

SAMPLED_LINES = 65_536
"""Distinct lines kept on average. Data of fewer lines is traced in full. Assumed: a few per cent off on a share."""


def sampling_shift(num_lines: int) -> int:
    """The rate 2**-shift that keeps about SAMPLED_LINES of `num_lines` lines.

    >>> sampling_shift(60_000), sampling_shift(1_000_000)
    (0, 4)
    """
    return max(0, int(np.ceil(np.log2(max(num_lines, 1) / SAMPLED_LINES))))


@njit(cache=True)
def is_sampled(line: int, shift: int) -> bool:  # pragma: no cover
    """Whether a line is in the sample of rate 2**-shift (the finaliser of splitmix64 decides)."""
    x = np.uint64(line) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return bool(x & np.uint64((1 << shift) - 1) == 0)


def histograms(
    lines: Ints, streams: Bytes, starts: Ints, num_streams: int, shift: int
) -> list[list[tuple[float, ...]]]:
    """The reuse histogram of every stream in every phase, as ir.Stream holds it.

    lines, streams: the line and the stream of each sampled access, in order, over all phases. starts: the first access
    of each phase and the end of the last. A stream without sampled accesses in a phase gets an empty histogram.
    """
    _, ids = np.unique(lines, return_inverse=True)
    num_lines = int(ids.max()) + 1 if len(ids) else 0
    size = int(np.ceil(np.log2(max(num_lines << shift, 1)))) + 1
    counts = _count(ids.astype(np.int64), streams, starts, num_streams, np.array([shift, size], np.int64))
    return [[_shares(counts[p, s]) for s in range(num_streams)] for p in range(len(starts) - 1)]


def _shares(counts: Ints) -> tuple[float, ...]:
    total = counts.sum()
    return tuple((np.cumsum(counts[:-1]) / total).tolist()) if total else ()


@njit(cache=True)
def _count(ids: Ints, streams: Bytes, starts: Ints, num_streams: int, scale: Ints) -> Ints:  # pragma: no cover
    """Accesses by phase, stream and bin; the last bin is cold. scale: sampling shift, number of bins."""
    shift, size = scale
    counts = np.zeros((len(starts) - 1, num_streams, size + 1), np.int64)
    last = np.full(len(ids), -1, np.int64)
    tree = np.zeros(len(ids) + 1, np.int64)
    for phase in range(len(starts) - 1):
        for now in range(starts[phase], starts[phase + 1]):
            line = ids[now]
            before, bin_ = last[line], size
            if before >= 0:
                held = (_sum(tree, now) - _sum(tree, before + 1) << shift) + 1
                bin_ = 0
                while (1 << bin_) < held:
                    bin_ += 1
                _add(tree, before, -1)
            _add(tree, now, 1)
            last[line] = now
            counts[phase, streams[now], min(bin_, size)] += 1
    return counts


@njit(cache=True)
def _sum(tree: Ints, end: int) -> int:  # pragma: no cover
    """The entries before `end`."""
    total = 0
    while end > 0:
        total += tree[end]
        end -= end & -end
    return total


@njit(cache=True)
def _add(tree: Ints, at: int, value: int) -> None:  # pragma: no cover
    at += 1
    while at < len(tree):
        tree[at] += value
        at += at & -at
