"""Graphs as compressed sparse rows, and the Kronecker graphs that benchmarks make."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.errors import BadInput

Ints = NDArray[np.int64]
Ids = NDArray[np.int32]

MAX_VERTICES = 2**31 - 2
"""Vertex ids are 32-bit, as in the graph suites."""


@dataclass(frozen=True, eq=False)
class Csr:
    """The neighbours of vertex v are `targets[offsets[v]:offsets[v + 1]]`, ascending, without loops or repeats.

    is_symmetric: every edge is there in both directions.
    """

    offsets: Ints
    targets: Ids
    is_symmetric: bool

    @property
    def num_vertices(self) -> int:
        """Vertices, those without edges included."""
        return len(self.offsets) - 1

    @property
    def num_edges(self) -> int:
        """Directed edges: an undirected edge counts twice."""
        return len(self.targets)

    @cached_property
    def digest(self) -> str:
        """Content hash, the same on every machine."""
        state = sha256(b"csr")
        state.update(self.offsets.astype("<i8").tobytes())
        state.update(self.targets.astype("<i4").tobytes())
        return state.hexdigest()[:16]


def from_edges(num_vertices: int, source: NDArray[Any], target: NDArray[Any], *, is_symmetric: bool) -> Csr:
    """The graph of an edge list; loops and repeated edges are dropped, as graph suites do.

    is_symmetric: add the reverse of every edge. Raises BadInput for a vertex outside 0 to num_vertices - 1.
    """
    if not 1 <= num_vertices <= MAX_VERTICES:
        raise BadInput(f"a graph of {num_vertices} vertices; give 1 to {MAX_VERTICES}")
    ends = np.concatenate([source, target]).astype(np.int64)
    if len(ends) and (ends.min() < 0 or ends.max() >= num_vertices):
        wrong = ends.min() if ends.min() < 0 else ends.max()
        raise BadInput(f"an edge names vertex {wrong}; vertices go from 0 to {num_vertices - 1}")
    begin, end = ends[: len(source)], ends[len(source) :]
    if is_symmetric:
        begin, end = ends, np.concatenate([end, begin])
    kept = begin != end
    key = np.sort(begin[kept] * num_vertices + end[kept])
    key = key[np.diff(key, prepend=-1) > 0]
    offsets = np.zeros(num_vertices + 1, np.int64)
    np.cumsum(np.bincount(key // num_vertices, minlength=num_vertices), out=offsets[1:])
    return Csr(offsets, (key % num_vertices).astype(np.int32), is_symmetric)


def kronecker(scale: int, edges_per_vertex: int = 16, seed: int = 1) -> Csr:
    """An undirected Kronecker (R-MAT) graph of 2**scale vertices with shuffled names.

    Source: Graph500 benchmark specification, 2011: quadrants of 0.57, 0.19, 0.19 and 0.05.
    """
    random = np.random.default_rng(seed)
    num_vertices, num_edges = 1 << scale, edges_per_vertex << scale
    ends = np.zeros((2, num_edges), np.int64)
    for bit in range(scale):
        down = random.random(num_edges) > 0.57 + 0.19
        right = random.random(num_edges) > np.where(down, 0.19 / (0.19 + 0.05), 0.57 / (0.57 + 0.19))
        ends[0] |= down.astype(np.int64) << bit
        ends[1] |= right.astype(np.int64) << bit
    names = random.permutation(num_vertices)
    return from_edges(num_vertices, names[ends[0]], names[ends[1]], is_symmetric=True)
