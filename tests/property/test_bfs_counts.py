"""A search gives the depths of a plain one, and its record holds exactly what it did, on any graph."""

from collections import deque
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisys.errors import BadInput
from aisys.ir.record import LINE_BYTES, NUM_BLOCKS
from aisys.kernel import bfs, reuse
from aisys.kernel.csr import Csr, from_edges, kronecker


@st.composite
def graphs(draw: st.DrawFn) -> Csr:
    """Random graphs, from empty to dense; drawn as numbers, so that most examples are connected enough to walk."""
    num_vertices, num_edges = draw(st.integers(1, 60)), draw(st.integers(0, 150))
    ends = np.random.default_rng(draw(st.integers(0, 10**6))).integers(0, num_vertices, (2, num_edges))
    return from_edges(num_vertices, ends[0], ends[1], is_symmetric=draw(st.booleans()))


def plain_depths(graph: Csr, source: int) -> list[int]:
    """The textbook search: one queue, one direction."""
    depth = [-1] * graph.num_vertices
    depth[source] = 0
    waiting = deque([source])
    while waiting:
        u = waiting.popleft()
        for v in graph.targets[graph.offsets[u] : graph.offsets[u + 1]]:
            if depth[v] < 0:
                depth[v] = depth[u] + 1
                waiting.append(int(v))
    return depth


class Touch(NamedTuple):
    """One access: its stream (in the order of the record), tensor, first byte and bytes."""

    stream: int
    tensor: str
    byte: int
    grain: int


def plain_accesses(graph: Csr, walk: bfs.Walk) -> list[list[Touch]]:
    """Every access of every level, in order, by an interpreter of the algorithm."""
    depth, queue = [-1] * graph.num_vertices, [walk.source]
    depth[walk.source] = 0
    levels: list[list[Touch]] = []
    begin = 0
    for level, row in enumerate(walk.levels):
        pull, end, touches = bool(row[bfs.PULL]), len(queue), []
        for i, u in enumerate(range(graph.num_vertices) if pull else queue[begin:end]):
            touches.append(Touch(0, "depth", 4 * u, 4) if pull else Touch(0, "queue", 4 * (begin + i), 4))
            if pull and depth[u] >= 0:
                continue
            touches.append(Touch(1, "offsets", 8 * u, 16))
            for e in range(graph.offsets[u], graph.offsets[u + 1]):
                v = int(graph.targets[e])
                touches += [Touch(2, "targets", 4 * e, 4), Touch(3, "depth", 4 * v, 4)]
                if (depth[v] != level) if pull else (depth[v] >= 0):
                    continue
                new = u if pull else v
                depth[new] = level + 1
                touches += [Touch(4, "depth", 4 * new, 4), Touch(5, "parent", 4 * new, 4)]
                touches.append(Touch(6, "queue", 4 * len(queue), 4))
                queue.append(new)
                if pull:
                    break
        levels.append(touches)
        begin = end
    return levels


def distances(levels: list[list[Touch]]) -> list[list[float]]:
    """Per access, the distinct lines touched since its line was, itself included; infinite where it never was."""
    seen: list[tuple[str, int]] = []
    found: list[list[float]] = []
    for touches in levels:
        found.append([])
        for touch in touches:
            line = (touch.tensor, touch.byte // LINE_BYTES)
            found[-1].append(len(seen) - seen.index(line) if line in seen else float("inf"))
            seen = [other for other in seen if other != line] + [line]
    return found


def operations(touches: list[Touch], *, is_pull: bool) -> dict[str, int]:
    """Operations of one level by type, from its accesses. Rare: the end of a list, and the less frequent answer."""
    count = [sum(touch.stream == stream for touch in touches) for stream in range(7)]
    scanned, lists, edges, found = count[0], count[1], count[2], count[6]
    skipped = min(lists, scanned - lists) if is_pull else 0
    return {
        "int_compare": scanned + edges, "int_add": scanned + lists + edges + found,
        "rare_branch": lists + min(found, edges - found) + skipped,
    }  # fmt: skip


@given(graphs(), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_depths_are_those_of_a_plain_search(graph: Csr, seed: int) -> None:
    source = seed % graph.num_vertices
    walk = bfs.run(graph, source)
    assert walk.depth.tolist() == plain_depths(graph, source)
    for v in walk.queue[1:]:
        u = walk.parent[v]
        assert walk.depth[v] == walk.depth[u] + 1
        assert v in graph.targets[graph.offsets[u] : graph.offsets[u + 1]]


@given(graphs(), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_streams_and_reuse_are_those_of_an_interpreter(graph: Csr, seed: int) -> None:
    """Graphs this small are traced in full, so histograms are exact too."""
    walk = bfs.run(graph, seed % graph.num_vertices)
    record = bfs.record(graph, walk)
    levels = plain_accesses(graph, walk)
    num_lines = len({(touch.tensor, touch.byte // LINE_BYTES) for touches in levels for touch in touches})
    assert len(record.phases) == len(levels)
    assert record.num_bytes == sum(touch.grain for touches in levels for touch in touches)
    for phase, touches, reused in zip(record.phases, levels, distances(levels), strict=True):
        used = sorted({touch.stream for touch in touches})
        assert phase.op_counts == operations(touches, is_pull=touches[0].tensor == "depth")
        assert phase.parallel_slack == sum(touch.stream == 1 for touch in touches)
        assert all(s.num_runs == (phase.parallel_slack if s.tensor == "targets" else 1) for s in phase.streams)
        for index, stream in zip(used, phase.streams, strict=True):
            mine = [i for i, touch in enumerate(touches) if touch.stream == index]
            assert {(touches[i].tensor, touches[i].grain) for i in mine} == {(stream.tensor, stream.grain_bytes)}
            assert stream.accesses == len(mine)
            covered = {b for i in mine for b in range(touches[i].byte, touches[i].byte + stream.grain_bytes)}
            assert stream.footprint_bytes == len(covered)
            shares = [np.mean([reused[i] <= 2**k for i in mine]) for k in range(len(stream.reuse))]
            assert stream.reuse == pytest.approx(shares)
            assert stream.reuse[-1] == pytest.approx(np.mean([np.isfinite(reused[i]) for i in mine]))
            assert len(stream.reuse) == 1 + np.ceil(np.log2(num_lines))


@given(graphs(), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_traffic_is_one_check_per_edge_between_the_blocks_of_its_ends(graph: Csr, seed: int) -> None:
    walk = bfs.run(graph, seed % graph.num_vertices)
    for phase, row in zip(bfs.record(graph, walk).phases, walk.levels, strict=True):
        assert phase.traffic.num_bytes.sum() == 4 * row[bfs.EDGES]
        checks = [s for s in phase.streams if s.tensor == "depth" and s.pattern == "gather" and not s.is_write]
        assert sum(s.accesses for s in checks) == row[bfs.EDGES]
        whole = phase.traffic.between(np.zeros(NUM_BLOCKS, np.int64), 1)
        assert whole.tolist() == [[4 * row[bfs.EDGES]]]
        assert phase.traffic.of_source().sum() == 4 * row[bfs.EDGES]


def test_a_large_symmetric_graph_pulls_and_examines_few_of_its_edges() -> None:
    graph = kronecker(12)
    walk = bfs.run(graph, int(np.argmax(np.diff(graph.offsets))))
    assert walk.depth.tolist() == plain_depths(graph, walk.source)
    assert walk.levels[:, bfs.PULL].any()
    assert walk.levels[:, bfs.EDGES].sum() < graph.num_edges / 2


def published_directions(graph: Csr, depth: list[int]) -> list[bool]:
    """Whether each level pulls, by Beamer's rule: alpha 15 on edges, beta 18 on vertices, from the depths alone."""
    degree = np.diff(graph.offsets)
    frontiers = [np.flatnonzero(np.array(depth) == level) for level in range(max(depth) + 1)]
    pulls, unexplored = [], graph.num_edges
    for level, frontier in enumerate(frontiers):
        leaving = int(degree[frontier].sum())
        if pulls and pulls[-1]:
            pulls.append(len(frontier) >= len(frontiers[level - 1]) or len(frontier) > graph.num_vertices // 18)
        else:
            pulls.append(leaving > unexplored // 15)
        unexplored -= leaving
    return pulls


def test_the_direction_changes_by_the_published_rule() -> None:
    """On sparse and dense graphs, from a hub and from leaves, and back from pulling to pushing too."""
    changes = set()
    for edges_per_vertex, seed in ((2, 1), (2, 2), (4, 1), (4, 2), (16, 1)):
        graph = kronecker(11, edges_per_vertex, seed)
        degree = np.diff(graph.offsets)
        for source in (int(np.argmax(degree)), *np.flatnonzero(degree == 1)[:4].tolist()):
            walk = bfs.run(graph, source)
            found = walk.levels[:, bfs.PULL].astype(bool).tolist()
            assert found == published_directions(graph, plain_depths(graph, source))
            changes |= set(pairwise(found))
    assert changes == {(False, False), (False, True), (True, True), (True, False)}


def test_sampled_reuse_is_near_the_full_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample of one line in eight cannot tell distances below eight lines apart; from 32 on it is within 0.12 of the
    exact shares. The error is that of the few hot lines among the 128 of `depth` that are kept."""
    graph = kronecker(14)
    walk = bfs.run(graph, int(np.argmax(np.diff(graph.offsets))))
    full = bfs.record(graph, walk)
    monkeypatch.setattr(reuse, "SAMPLED_LINES", 4096)
    sampled = bfs.record(graph, walk)
    compared = 0
    for one, other in zip(full.phases, sampled.phases, strict=True):
        assert [s.accesses for s in one.streams] == [s.accesses for s in other.streams]
        assert one.traffic == other.traffic
        for exact, near in zip(one.streams, other.streams, strict=True):
            if exact.accesses < 2000:
                continue
            compared += 1
            assert np.abs(np.subtract(exact.reuse[5:], near.reuse[5 : len(exact.reuse)])).max() < 0.12
    assert compared


@pytest.mark.parametrize("stride", [1, 3, 64, 1024])
@pytest.mark.parametrize("shift", [0, 1, 4, 7])
def test_one_line_in_two_to_the_shift_is_sampled_whatever_their_stride(shift: int, stride: int) -> None:
    """Of 2**15 lines; four standard deviations of independent choices."""
    chosen = sum(reuse.is_sampled(line * stride, shift) for line in range(2**15))
    expected = 2 ** (15 - shift)
    assert abs(chosen - expected) <= 4 * np.sqrt(expected * (1 - 2.0**-shift))


def test_a_source_outside_the_graph_is_refused() -> None:
    graph = from_edges(3, np.array([0]), np.array([1]), is_symmetric=True)
    with pytest.raises(BadInput, match=r"source 3 is not a vertex; this graph has 0 to 2"):
        bfs.run(graph, 3)
