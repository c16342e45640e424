"""Formats store exactly the bits that they say, and density models count what is really in tensors."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisys.errors import BadInput
from aisys.ir.density import Blocks, Histogram, NOfM, Uniform
from aisys.ir.sparse_format import Bitmap, Csr, Grouped, Rlc

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


def every_pattern(density, size: int):
    """(probability, pattern) of all patterns of a tensor of whole groups or blocks."""
    if isinstance(density, NOfM):
        group = [[i in places for i in range(density.m)] for places in combinations(range(density.m), density.n)]
        for groups in product(group, repeat=size // density.m):
            yield 1 / len(group) ** (size // density.m), np.array(groups).reshape(-1)
    else:
        for code in product((False, True), repeat=size // density.block):
            share = density.density ** sum(code) * (1 - density.density) ** (len(code) - sum(code))
            yield share, np.repeat(code, density.block)


MODELS = [NOfM(1, 2), NOfM(2, 4), NOfM(1, 3), NOfM(5, 6), NOfM(3, 3), Blocks(4, 0.3), Blocks(3, 0.3), Blocks(1, 0.9)]


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("tile", [1, 2, 3, 4, 6, 12])
def test_tiles_are_empty_as_often_as_all_patterns_say(model, tile):
    """Tiles may straddle groups and blocks."""
    empty = sum(share * (~pattern.reshape(-1, tile)).all(1).mean() for share, pattern in every_pattern(model, 12))
    assert model.empty_share(tile) == pytest.approx(empty)
    kept = sum(share * pattern.mean() for share, pattern in every_pattern(model, 12))
    assert model.density == pytest.approx(kept)


@pytest.mark.parametrize("form", [Bitmap(), Rlc(1), Rlc(2), Csr()], ids=str)
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_expected_bits_of_groups_and_blocks_are_the_mean_over_every_pattern(form, model):
    mean = sum(share * form.num_bits(pattern.reshape(2, 6), 8) for share, pattern in every_pattern(model, 12))
    assert form.expected_bits((2, 6), model, 8) == pytest.approx(mean)


@given(seeds, densities, st.sampled_from([(1, 1), (2, 4), (3, 8), (6, 16), (12, 32)]))
@settings(deadline=None, max_examples=40)
def test_a_histogram_is_what_was_counted(seed, density, shape):
    tensor = drawn(seed, (6, 16), density)
    found = Histogram.of(tensor)
    for tile in (1, 4, 16, 96):
        assert found.empty_share(tile) == (tensor.reshape(-1, tile) == 0).all(1).mean()
        assert sum(found.shares(tile)) == pytest.approx(1)
    assert found.density == pytest.approx((tensor != 0).mean())
    high, wide = min(shape[0], 6), min(shape[1], 16)
    pieces = [(r, c) for r in range(0, 6 - high + 1, high) for c in range(0, 16 - wide + 1, wide)]
    counted = [Rlc(2).num_bits(tensor[r : r + high, c : c + wide] != 0, 8) for r, c in pieces]
    whole = np.mean(counted) * (shape[0] * shape[1] / (high * wide))
    assert Rlc(2).expected_bits(shape, found, 8) == pytest.approx(whole)
    for form in (Bitmap(), Csr()):
        assert form.expected_bits((6, 16), found, 8) == pytest.approx(form.num_bits(tensor != 0, 8))


def test_a_large_tensor_is_counted_in_pieces_that_are_spread_over_it():
    tensor = np.zeros((256, 64), bool)
    tensor[:128] = True
    assert Rlc().expected_bits((1, 2), Histogram.of(tensor), 8) == pytest.approx(2 * 13 / 2)


def test_uniform_tensors_are_counted_as_uniform():
    """A million elements: the share of empty tiles of 8 is within five standard errors."""
    tensor = np.random.default_rng(1).random(2**20) < 0.2
    expected, tiles = Uniform(0.2).empty_share(8), 2**17
    assert expected == pytest.approx(0.8**8)
    counted = Histogram.of(tensor).empty_share(8)
    assert abs(counted - expected) < 5 * np.sqrt(expected * (1 - expected) / tiles)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: Uniform(1.1), "density 1.1; give 0 to 1"),
        (lambda: NOfM(5, 4), "density 5:4: keep 1 to 4 of every 4"),
        (lambda: Blocks(0, 0.5), "blocks of 0"),
        (lambda: Histogram.of(np.ones(0)), r"a tensor of shape \(0,\)"),
        (lambda: Histogram.of(np.ones(10)).empty_share(11), "tiles of 11 in a tensor of 10"),
        (lambda: Grouped().expected_bits((1, 4), Uniform(0.5), 8), "2:4 cannot store Uniform"),
        (lambda: Grouped().expected_bits((1, 4), NOfM(3, 4), 8), "2:4 cannot store NOfM"),
        (lambda: Grouped().expected_bits((1, 4), Histogram.of(np.ones((2, 8))), 8), "a group of 4 holds 4"),
        (lambda: Grouped().num_bits(np.ones((1, 4), bool), 8), "holds 4 non-zeros; 2:4 stores 2"),
        (lambda: Grouped().num_bits(np.ones((1, 6), bool), 8), "rows of 6 elements hold no whole"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(ask, said):
    with pytest.raises(BadInput, match=said):
        ask()
