"""Networks that share one systolic array: parts tile it, cost what an array of their size costs, and are the best."""

from collections.abc import Iterator
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aisys
from aisys.cost import graph_cost
from aisys.cost.systolic_array import sharing
from aisys.errors import BadInput, DoesNotFit, UnknownName, Unsupported
from aisys.search import equal_split, share
from aisys.search.dataflow_mirroring import Part, Sharing, Times, best_cut, equal_cut

Place = tuple[int, int, int, int]
SMALL = sharing.resized(aisys.device("systolic-32x32"), 12, 8)
NETWORKS = [aisys.read(name) for name in ("alexnet", "mobilenet-v1", "resnet18")]


def random_times(seed: int, num_networks: int, rows: int, cols: int) -> Times:
    """Any positive times, so that a larger part may well be slower; few values, so that many cuts tie."""
    draw = np.random.default_rng(seed)
    shared = tuple(draw.integers(1, 9, (rows + 1, cols + 1)).astype(float) for _ in range(num_networks))
    for times in shared:
        times[0, :] = times[:, 0] = np.inf
    alone = tuple(float(times[rows, cols]) for times in shared)
    return Times(tuple(f"net{n}" for n in range(num_networks)), shared, alone)


def layouts(num_networks: int, rows: int, cols: int) -> Iterator[list[Place]]:
    """The slow twin: every place of every cut, one by one. Network number n has the n-th place."""
    upright = [(p, False) for p in _upright(num_networks, rows, cols)]
    turned = [(p, True) for p in _upright(num_networks, cols, rows)]
    for places, is_turned in upright + turned:
        yield [(c, r, w, h) if is_turned else (r, c, h, w) for r, c, h, w in places]


def _upright(num_networks: int, rows: int, cols: int) -> Iterator[list[Place]]:
    """All with a first cut behind column x, and strips of one network, or of two with a cut behind some row."""
    for x in range(1, cols):
        strips = ((0, x), (x, cols - x))
        for num_left in (1, 2):
            if 1 <= num_networks - num_left <= 2:
                for left in _strip(*strips[0], num_left, rows):
                    for right in _strip(*strips[1], num_networks - num_left, rows):
                        yield left + right


def _strip(start: int, width: int, num_networks: int, rows: int) -> Iterator[list[Place]]:
    if num_networks == 1:
        yield [(0, start, rows, width)]
        return
    for y in range(1, rows):
        yield [(0, start, y, width), (y, start, rows - y, width)]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 4), st.integers(2, 6), st.integers(2, 6), st.sampled_from(["stp", "antt"]))
def test_the_cuts_are_the_best_of_all_cuts_tried_one_by_one(seed, num_networks, rows, cols, objective):
    times = random_times(seed, num_networks, rows, cols)
    found = best_cut(times, objective)
    every = (
        Sharing(parts=tuple(times.part(n, places[order[n]]) for n in range(num_networks)))
        for places in layouts(num_networks, rows, cols)
        for order in permutations(range(num_networks))
    )
    values = [getattr(sharing_, objective) for sharing_ in every]
    assert getattr(found, objective) == pytest.approx((max if objective == "stp" else min)(values), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(2, 9), st.integers(2, 9))
def test_the_parts_tile_the_array(seed, num_networks, rows, cols):
    covered = np.zeros((rows, cols), int)
    for part in best_cut(random_times(seed, num_networks, rows, cols)).parts:
        assert part.rows >= 1
        assert part.cols >= 1
        assert part.row + part.rows <= rows
        assert part.col + part.cols <= cols
        covered[part.row : part.row + part.rows, part.col : part.col + part.cols] += 1
    assert (covered == 1).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([1, 2, 4]), st.integers(1, 4), st.integers(1, 4))
def test_the_best_is_no_worse_than_the_equal_split(seed, num_networks, half_rows, half_cols):
    times = random_times(seed, num_networks, 2 * half_rows, 2 * half_cols)
    assert best_cut(times).stp >= equal_cut(times).stp - 1e-12
    assert best_cut(times, "antt").antt <= equal_cut(times, "antt").antt + 1e-12


@pytest.mark.parametrize(
    ("num_networks", "num_cuts"), [(1, 1), (2, 4 + 6), (3, 3 * (4 * 6 + 6 * 4)), (4, 3 * 4 * 6 * 10)]
)
def test_the_number_of_cuts_is_that_of_the_space(num_networks, num_cuts):
    found = best_cut(random_times(1, num_networks, 7, 5))
    assert found.num_cuts == num_cuts
    assert found.num_tried <= num_cuts
    distinct = {tuple(sorted(places)) for places in layouts(num_networks, 7, 5)} if num_networks == 2 else None
    assert distinct is None or len(distinct) == num_cuts


def test_bounding_saves_nearly_all_of_the_work():
    found = best_cut(Times.of([*NETWORKS, NETWORKS[0]], SMALL))
    assert found.num_tried + found.num_bounded < found.num_cuts / 5


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (12, 8), (5, 8), (12, 3)])
@pytest.mark.parametrize("num_networks", [1, 3])
def test_a_part_takes_as_long_as_an_array_of_its_size(rows, cols, num_networks):
    own = sharing.share_of(SMALL, num_networks)
    for graph in NETWORKS:
        alone = graph_cost(graph, sharing.resized(own, rows, cols)).time_s
        assert sharing.times_s(graph, own)[rows, cols] == pytest.approx(alone, rel=1e-12)


def test_a_share_is_a_part_of_buffer_and_bandwidth_and_of_nothing_else():
    own = sharing.share_of(SMALL, 4)
    assert own.main_memory.bandwidth_bytes_per_s == SMALL.main_memory.bandwidth_bytes_per_s / 4
    assert own.main_memory.capacity_bytes == SMALL.main_memory.capacity_bytes
    assert own.memories["sram"].capacity_bytes == SMALL.memories["sram"].capacity_bytes / 4
    assert own.architecture == SMALL.architecture


def test_one_network_has_the_whole_array_at_its_own_cost():
    found = share(NETWORKS[:1], SMALL)
    (part,) = found.parts
    assert (part.row, part.col, part.rows, part.cols) == (0, 0, 12, 8)
    assert part.time_s == pytest.approx(graph_cost(NETWORKS[0], SMALL).time_s, rel=1e-12)
    assert (found.stp, found.antt) == (pytest.approx(1), pytest.approx(1))
    assert equal_split(NETWORKS[:1], SMALL).parts == found.parts


def test_the_equal_split_is_in_quarters_or_the_better_halves():
    times = random_times(3, 4, 6, 4)
    quarters = [(p.row, p.col, p.rows, p.cols) for p in equal_cut(times).parts]
    assert quarters == [(0, 0, 3, 2), (0, 2, 3, 2), (3, 0, 3, 2), (3, 2, 3, 2)]
    assert [p.time_s for p in equal_cut(times).parts] == [times.shared_s[n][3, 2] for n in range(4)]
    pair = random_times(4, 2, 6, 4)
    beside = sum(pair.alone_s[n] / pair.shared_s[n][6, 2] for n in range(2))
    above = sum(pair.alone_s[n] / pair.shared_s[n][3, 4] for n in range(2))
    assert equal_cut(pair).stp == pytest.approx(max(beside, above))
    assert len(equal_cut(random_times(5, 3, 6, 4)).parts) == 3


def test_stp_adds_up_progress_and_antt_is_the_mean_slowdown():
    sizes = {"row": 0, "col": 0, "rows": 1, "cols": 1}
    parts = (Part(network="a", time_s=4.0, alone_s=1.0, **sizes), Part(network="b", time_s=2.0, alone_s=1.0, **sizes))
    assert Sharing(parts=parts).stp == 0.75
    assert Sharing(parts=parts).antt == 3.0


def test_what_cannot_be_shared_is_one_sentence():
    with pytest.raises(BadInput, match="5 networks on one array; dataflow mirroring has room for 1 to 4"):
        share(NETWORKS[:1] * 5, SMALL)
    with pytest.raises(BadInput, match="0 networks"):
        share([], SMALL)
    with pytest.raises(UnknownName, match="stp"):
        share(NETWORKS[:2], SMALL, objective="spt")
    with pytest.raises(Unsupported, match="h100-sxm has no systolic array"):
        share(NETWORKS[:2], aisys.device("h100-sxm"))
    with pytest.raises(Unsupported, match="timing overlapped"):
        share(NETWORKS[:2], aisys.device("tpu-v6e"))
    line = sharing.resized(SMALL, 1, 8)
    assert len(share(NETWORKS[:2], line).parts) == 2
    for cut in (share, equal_split):
        with pytest.raises(DoesNotFit, match="1 x 8 cannot be cut"):
            cut(NETWORKS, line)
