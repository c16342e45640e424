"""Formats store exactly the bits that they say, and density models count what is really in tensors."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisys.errors import BadInput
from aisys.ir.density import Bitmap, Blocks, Csr, Grouped, Histogram, NOfM, Rlc, Uniform

FORMATS = [Bitmap(), Rlc(2), Rlc(4), Rlc(), Csr(), Grouped(4, 4)]
seeds = st.integers(0, 2**32 - 1)
shapes = st.tuples(st.integers(1, 9), st.integers(1, 12).map(lambda groups: 4 * groups))
densities = st.sampled_from([0.0, 0.02, 0.1, 0.5, 1.0])


def drawn(seed: int, shape: tuple[int, int], density: float) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.choice([-8, -3, 1, 7], shape) * (random.random(shape) < density)


@pytest.mark.parametrize("form", FORMATS, ids=str)
@given(seeds, shapes, densities)
@settings(deadline=None, max_examples=40)
def test_a_format_takes_the_bits_that_it_says_and_loses_nothing(form, seed, shape, density):
    matrix = drawn(seed, shape, density)
    stored = form.encode(matrix, 4)
    assert len(stored) == form.num_bits(matrix != 0, 4)
    assert set(stored.tolist()) <= {0, 1}
    assert (form.decode(stored, shape, 4) == matrix).all()


@given(seeds, st.sampled_from([(1, 4), (2, 4), (4, 8), (1, 1)]))
@settings(deadline=None, max_examples=40)
def test_n_of_m_is_stored_with_an_index_per_value(seed, kind):
    n, m = kind
    random = np.random.default_rng(seed)
    places = random.permuted(np.tile(np.arange(m) < n, (12, 1)), axis=1)
    matrix = (random.choice([-8, -3, 1, 7], (12, m)) * places).reshape(3, 4 * m)
    form = Grouped(n, m)
    stored = form.encode(matrix, 4)
    assert len(stored) == form.num_bits(matrix != 0, 4) == form.expected_bits((3, 4 * m), NOfM(n, m), 4)
    assert len(stored) == 12 * n * (4 + {4: 2, 8: 3, 1: 1}[m])
    assert (form.decode(stored, (3, 4 * m), 4) == matrix).all()


@pytest.mark.parametrize("form", [Bitmap(), Rlc(1), Rlc(2), Csr()], ids=str)
@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_expected_bits_are_the_mean_over_every_pattern_there_is(form, density):
    """All 2^10 patterns of a 2 x 5 matrix, weighted by how likely they are."""
    mean = 0.0
    for code in range(2**10):
        pattern = np.array([code >> i & 1 for i in range(10)], bool).reshape(2, 5)
        weight = density ** pattern.sum() * (1 - density) ** (~pattern).sum()
        mean += weight * form.num_bits(pattern, 8)
    assert form.expected_bits((2, 5), Uniform(density), 8) == pytest.approx(mean, rel=1e-12, abs=1e-12)


@given(st.sampled_from([(1, 2), (2, 4), (3, 8), (8, 8)]), st.integers(0, 3))
def test_tiles_of_n_of_m_are_empty_as_often_as_all_patterns_say(kind, power):
    n, m = kind
    tile = 2**power
    patterns = [set(places) for places in combinations(range(m), n)]
    tiles = [range(start, start + tile) for start in range(0, m, tile)] if tile < m else [range(m)]
    empty = np.mean([not pattern & set(places) for pattern in patterns for places in tiles])
    assert NOfM(n, m).empty_share(tile) == pytest.approx(empty)
    assert NOfM(n, m).density == n / m


@pytest.mark.parametrize("tile", [1, 2, 4, 8])
def test_blocks_are_empty_together(tile):
    density, patterns = 0.3, [np.repeat([code & 1, code >> 1 & 1], 4) for code in range(4)]
    empty = 0.0
    for pattern in patterns:
        weight = density ** (pattern.sum() / 4) * (1 - density) ** (2 - pattern.sum() / 4)
        empty += weight * (pattern.reshape(-1, tile).sum(1) == 0).mean()
    assert Blocks(4, density).empty_share(tile) == pytest.approx(empty)


@given(seeds, densities)
@settings(deadline=None, max_examples=40)
def test_a_histogram_is_what_was_counted(seed, density):
    tensor = drawn(seed, (6, 16), density)
    found = Histogram.of(tensor, (4, 1, 16))
    for tile in (1, 4, 16):
        assert found.empty_share(tile) == (tensor.reshape(-1, tile) == 0).all(1).mean()
        assert sum(found.shares[tile]) == pytest.approx(1)
    assert found.density == pytest.approx((tensor != 0).mean())


def test_uniform_tensors_are_counted_as_uniform():
    """A million elements: the share of empty tiles of 8 is within five standard errors."""
    tensor = np.random.default_rng(1).random(2**20) < 0.2
    expected, tiles = Uniform(0.2).empty_share(8), 2**17
    assert expected == pytest.approx(0.8**8)
    counted = Histogram.of(tensor, [8]).empty_share(8)
    assert abs(counted - expected) < 5 * np.sqrt(expected * (1 - expected) / tiles)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: Uniform(1.1), "density 1.1; give 0 to 1"),
        (lambda: NOfM(5, 4), "density 5:4: keep 1 to 4 of every 4"),
        (lambda: NOfM(2, 4).empty_share(3), "tiles of 3 straddle the groups of 2:4"),
        (lambda: Blocks(4, 0.5).empty_share(6), "tiles of 6 straddle blocks of 4"),
        (lambda: Blocks(0, 0.5), "blocks of 0"),
        (lambda: Histogram.of(np.ones(10), [3]), "10 elements in tiles of 3"),
        (lambda: Histogram.of(np.ones(10), []), "a histogram of no tiles"),
        (lambda: Histogram.of(np.ones(8), [2, 4]).empty_share(8), "those of 2, 4 were"),
        (lambda: Rlc().expected_bits((2, 4), NOfM(2, 4), 8), "runs of NOfM"),
        (lambda: Grouped().num_bits(np.ones((1, 4), bool), 8), "holds 4 non-zeros; 2:4 stores 2"),
        (lambda: Grouped().num_bits(np.ones((1, 6), bool), 8), "rows of 6 elements hold no whole"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(ask, said):
    with pytest.raises(BadInput, match=said):
        ask()
