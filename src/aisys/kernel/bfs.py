"""Breadth-first search that changes direction, run on a real graph; and what it accessed, level by level.

Source: Beamer, Asanovic, Patterson 2012 (direction-optimising BFS), with its alpha 15 and beta 18.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from aisys.errors import BadInput
from aisys.frozen import FrozenMap
from aisys.ir.record import LINE_BYTES, NUM_BLOCKS, AccessRecord, BlockTraffic, Pattern, Phase, Stream
from aisys.kernel import reuse
from aisys.kernel.csr import Csr, Ids, Ints

ALPHA, BETA = 15, 18
PULL, BEGIN, END, VISITED, EDGES, FOUND = range(6)
"""Columns of `Walk.levels`: whether the level pulls, its frontier `queue[begin:end]`, the vertices whose lists it
read, the edges that it examined, and the vertices that it found."""

QUEUE, OFFSETS, TARGETS, DEPTH, PARENT = range(5)


class Access(NamedTuple):
    """One stream of a level: its tensor, bytes per access, and how it walks."""

    tensor: int
    grain_bytes: int
    pattern: Pattern
    is_write: bool


FRONTIER, LISTS, NEIGHBOURS, CHECKS, SET_DEPTH, SET_PARENT, APPEND = range(7)
TENSORS = ("queue", "offsets", "targets", "depth", "parent")
PUSH_STREAMS = (
    Access(QUEUE, 4, "sequential", False),
    Access(OFFSETS, 16, "gather", False),
    Access(TARGETS, 4, "sequential", False),
    Access(DEPTH, 4, "gather", False),
    Access(DEPTH, 4, "gather", True),
    Access(PARENT, 4, "gather", True),
    Access(QUEUE, 4, "sequential", True),
)
PULL_STREAMS = (Access(DEPTH, 4, "sequential", False), *PUSH_STREAMS[1:])
"""A pull looks for unvisited vertices in `depth`, where a push takes its frontier from the queue."""


@dataclass(frozen=True, eq=False)
class Walk:
    """`depth` and `parent` by vertex, -1 where unreached; `queue`: vertices in the order in which they were found."""

    source: int
    depth: Ids
    parent: Ids
    queue: Ids
    levels: Ints

    @property
    def num_reached(self) -> int:
        """Vertices that the source reaches, itself included."""
        return len(self.queue)


def run(graph: Csr, source: int = 0) -> Walk:
    """The search from `source`. A directed graph is only pushed. Raises BadInput for a vertex that is not there."""
    if not 0 <= source < graph.num_vertices:
        raise BadInput(f"bfs: source {source} is not a vertex; this graph has 0 to {graph.num_vertices - 1}")
    depth, parent = np.full(graph.num_vertices, -1, np.int32), np.full(graph.num_vertices, -1, np.int32)
    queue, levels = np.empty(graph.num_vertices, np.int32), np.zeros((graph.num_vertices, 6), np.int64)
    depth[source], parent[source], queue[0] = 0, source, source
    found, num_levels = _search(graph.offsets, graph.targets, (depth, parent, queue), levels, graph.is_symmetric)
    return Walk(source, depth, parent, queue[:found].copy(), levels[:num_levels].copy())


def record(graph: Csr, walk: Walk) -> AccessRecord:
    """What `run` accessed to get `walk`: counts are exact, reuse is sampled on large graphs.

    Traffic: a push touches the 4-byte depth of each neighbour from the vertex that it expands, a pull that of each
    possible parent from the vertex that looks for one.
    """
    trace = _Trace(graph, walk)
    levels = [trace.level(level, row) for level, row in enumerate(walk.levels)]
    phases = (
        _phase(row, traffic, distinct, shares, graph.num_vertices)
        for row, (traffic, distinct), shares in zip(walk.levels, levels, trace.shares(), strict=True)
    )
    return AccessRecord(data_digest=graph.digest, phases=tuple(phases))


class _Trace:
    """Walks the levels of a search again and collects the sampled accesses."""

    def __init__(self, graph: Csr, walk: Walk) -> None:
        self.arrays = (walk.queue, graph.offsets, graph.targets, walk.depth, walk.parent)
        num_lines = [-(-array.nbytes // LINE_BYTES) for array in self.arrays]
        self.bases = np.concatenate([[0], np.cumsum(num_lines)]).astype(np.int64)
        self.shift = reuse.sampling_shift(int(self.bases[-1]))
        self.seen = np.full(graph.num_vertices, -1, np.int32)
        self.chunks: list[Ints] = []

    def level(self, level: int, row: Ints) -> tuple[BlockTraffic, Ints]:
        """The traffic of a level, and how many distinct neighbours it checked and distinct offsets it read."""
        accesses = int(2 * row[VISITED] + 2 * row[EDGES] + 3 * row[FOUND] + len(self.seen))
        where = np.array([level, self.shift, *self.bases[:-1]], np.int64)
        capacity = 4096 + (2 * accesses >> self.shift)
        while True:
            trace, traffic = np.empty((2, capacity), np.int64), np.zeros((NUM_BLOCKS, NUM_BLOCKS), np.int64)
            counts = np.zeros(3, np.int64)
            again = _pull_again if row[PULL] else _push_again
            again(self.arrays, row, where, (trace, traffic, self.seen, counts))
            if counts[0] <= capacity:
                self.chunks.append(trace[:, : counts[0]].copy())
                return BlockTraffic.of(traffic), counts[1:]
            capacity, self.seen[:] = int(counts[0]), -1

    def shares(self) -> list[list[tuple[float, ...]]]:
        """The reuse histogram of every stream of every level walked."""
        both = np.concatenate(self.chunks, axis=1)
        starts = np.cumsum([0, *(chunk.shape[1] for chunk in self.chunks)])
        num_streams = len(PUSH_STREAMS)
        return reuse.histograms(both[0], both[1].astype(np.int8), starts.astype(np.int64), num_streams, self.shift)


def _phase(
    row: Ints, traffic: BlockTraffic, distinct: Ints, shares: list[tuple[float, ...]], num_vertices: int
) -> Phase:
    pull, begin, end, visited, edges, found = (int(x) for x in row)
    checked, listed = (int(x) for x in distinct)
    scanned = num_vertices if pull else end - begin
    rare = min(found, edges - found) + visited + (min(visited, scanned - visited) if pull else 0)
    accesses = (scanned, visited, edges, edges, found, found, found)
    footprint = (4 * scanned, 8 * listed, 4 * edges, 4 * checked, 4 * found, 4 * found, 4 * found)
    streams = (
        Stream(
            tensor=TENSORS[what.tensor], pattern=what.pattern, accesses=accesses[i], grain_bytes=what.grain_bytes,
            footprint_bytes=footprint[i], is_write=what.is_write, reuse=shares[i],
            num_runs=visited if what.tensor == TARGETS else 1,
        )
        for i, what in enumerate(PULL_STREAMS if pull else PUSH_STREAMS)
        if accesses[i]
    )  # fmt: skip
    counts = {"int_compare": scanned + edges, "int_add": scanned + visited + edges + found, "rare_branch": rare}
    return Phase(op_counts=FrozenMap(counts), streams=tuple(streams), parallel_slack=visited, traffic=traffic)


@njit(cache=True)
def _search(
    offsets: Ints, targets: Ids, state: tuple[Ids, Ids, Ids], levels: Ints, may_pull: bool
) -> tuple[int, int]:  # pragma: no cover
    """Fills depth, parent, queue and levels; gives the vertices found and the number of levels."""
    depth, _, queue = state
    begin, end, level, pull, before = 0, 1, 0, False, 0
    unexplored = np.int64(len(targets))
    to_explore = offsets[queue[0] + 1] - offsets[queue[0]]
    while begin < end:
        if pull:
            pull = end - begin >= before or end - begin > len(depth) // BETA
        else:
            pull = may_pull and to_explore > unexplored // ALPHA
        before, unexplored = end - begin, unexplored - to_explore
        row = levels[level]
        row[PULL], row[BEGIN], row[END] = pull, begin, end
        to_explore = _pull(offsets, targets, state, row, level) if pull else _push(offsets, targets, state, row, level)
        begin, end = end, end + row[FOUND]
        level += 1
    return end, level


@njit(cache=True)
def _push(offsets: Ints, targets: Ids, state: tuple[Ids, Ids, Ids], row: Ints, level: int) -> int:  # pragma: no cover
    """One level from the frontier outwards; gives the edges that leave what it found."""
    depth, parent, queue = state
    tail, edges, to_explore = row[END], 0, 0
    for i in range(row[BEGIN], row[END]):
        u = queue[i]
        edges += offsets[u + 1] - offsets[u]
        for e in range(offsets[u], offsets[u + 1]):
            v = targets[e]
            if depth[v] < 0:
                depth[v], parent[v], queue[tail] = level + 1, u, v
                tail += 1
                to_explore += offsets[v + 1] - offsets[v]
    row[VISITED], row[EDGES], row[FOUND] = row[END] - row[BEGIN], edges, tail - row[END]
    return to_explore


@njit(cache=True)
def _pull(offsets: Ints, targets: Ids, state: tuple[Ids, Ids, Ids], row: Ints, level: int) -> int:  # pragma: no cover
    """One level from the unvisited inwards: each looks for a neighbour in the frontier and stops at the first."""
    depth, parent, queue = state
    tail, visited, edges, to_explore = row[END], 0, 0, 0
    for v in range(len(depth)):
        if depth[v] >= 0:
            continue
        visited += 1
        e = offsets[v]
        while e < offsets[v + 1] and depth[targets[e]] != level:
            e += 1
        edges += e - offsets[v]
        if e < offsets[v + 1]:
            edges += 1
            depth[v], parent[v], queue[tail] = level + 1, targets[e], v
            tail += 1
            to_explore += offsets[v + 1] - offsets[v]
    row[VISITED], row[EDGES], row[FOUND] = visited, edges, tail - row[END]
    return to_explore


_Arrays = tuple[Ids, Ints, Ids, Ids, Ids]
_Out = tuple[Ints, Ints, Ids, Ints]


@njit(cache=True)
def _push_again(arrays: _Arrays, row: Ints, where: Ints, out: _Out) -> None:  # pragma: no cover
    """The accesses of `_push`. where: level, sampling shift, first line of each tensor. out: trace, traffic, seen,
    and counts (accesses sampled, distinct neighbours checked, distinct offsets read)."""
    queue, offsets, targets, depth, parent = arrays
    _, traffic, seen, counts = out
    level, tail, scale = where[0], row[END], len(depth)
    for i in range(row[BEGIN], row[END]):
        u = queue[i]
        _touch(where, out, FRONTIER, QUEUE, 4 * i)
        _touch(where, out, LISTS, OFFSETS, 8 * u)
        counts[2] += 1 if u + 1 < scale and depth[u + 1] == level else 2
        for e in range(offsets[u], offsets[u + 1]):
            v = targets[e]
            _touch(where, out, NEIGHBOURS, TARGETS, 4 * e)
            _touch(where, out, CHECKS, DEPTH, 4 * v)
            traffic[u * NUM_BLOCKS // scale, v * NUM_BLOCKS // scale] += 4
            counts[1] += seen[v] != level
            seen[v] = level
            if depth[v] == level + 1 and parent[v] == u:
                _found(where, out, v, tail)
                tail += 1


@njit(cache=True)
def _pull_again(arrays: _Arrays, row: Ints, where: Ints, out: _Out) -> None:  # pragma: no cover
    """The accesses of `_pull`; arguments as for `_push_again`."""
    _, offsets, targets, depth, _ = arrays
    _, traffic, seen, counts = out
    level, tail, scale = where[0], row[END], len(depth)
    for v in range(scale):
        _touch(where, out, FRONTIER, DEPTH, 4 * v)
        if 0 <= depth[v] <= level:
            continue
        _touch(where, out, LISTS, OFFSETS, 8 * v)
        counts[2] += 1 if v + 1 < scale and not 0 <= depth[v + 1] <= level else 2
        for e in range(offsets[v], offsets[v + 1]):
            u = targets[e]
            _touch(where, out, NEIGHBOURS, TARGETS, 4 * e)
            _touch(where, out, CHECKS, DEPTH, 4 * u)
            traffic[v * NUM_BLOCKS // scale, u * NUM_BLOCKS // scale] += 4
            counts[1] += seen[u] != level
            seen[u] = level
            if depth[u] == level:
                _found(where, out, v, tail)
                tail += 1
                break


@njit(cache=True)
def _found(where: Ints, out: _Out, vertex: int, tail: int) -> None:  # pragma: no cover
    _touch(where, out, SET_DEPTH, DEPTH, 4 * vertex)
    _touch(where, out, SET_PARENT, PARENT, 4 * vertex)
    _touch(where, out, APPEND, QUEUE, 4 * tail)


@njit(cache=True)
def _touch(where: Ints, out: _Out, stream: int, tensor: int, byte: int) -> None:  # pragma: no cover
    """Adds an access to the trace where its line is sampled; counts it even where the trace is full."""
    trace, _, _, counts = out
    line = where[2 + tensor] + byte // LINE_BYTES
    if reuse.is_sampled(line, where[1]):
        if counts[0] < trace.shape[1]:
            trace[0, counts[0]], trace[1, counts[0]] = line, stream
        counts[0] += 1
