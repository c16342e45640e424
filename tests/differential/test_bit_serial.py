"""Early negative detection: the kernel equals a plain walk over the digits, accurate mode the plain layer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisys.errors import BadInput
from aisys.kernel import bit_serial

seeds, extents, lanes = st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 50)


def drawn(seed: int, extent: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    inputs = random.integers(0, 256, (3, extent)) * (random.random((3, extent)) < 0.6)
    return inputs, random.integers(-127, 128, (4, extent)), random.integers(-9000, 9000, 4)


def walked(inputs: list[int], weights: list[int], start: int, limit: float, lanes: int) -> tuple[int, int, bool]:
    """Sum, cycles and whether it stopped, of one output, one product at a time."""
    total, ran, last = start, 0, 8 * -(-len(inputs) // lanes)
    for bit in range(7, -1, -1):
        for begin in range(0, len(inputs), lanes):
            for x, w in zip(inputs[begin : begin + lanes], weights[begin : begin + lanes], strict=True):
                digit = (256 - w) % 256 >> bit & 1
                total += digit * x * 2**bit * (1 if bit == 7 else -1)
            ran += 1
            has_risen = bit < 7 or begin + lanes >= len(inputs)
            if has_risen and ran < last and total < limit:
                return total, ran, True
    return total, ran, False


@given(st.lists(st.integers(-127, 128), min_size=1))
def test_digits_say_the_weight_and_only_the_first_adds(weights):
    value = np.array([128, -64, -32, -16, -8, -4, -2, -1])
    assert (np.tensordot(value, bit_serial.digits(np.array(weights)), 1) == weights).all()


@given(seeds, extents, lanes, st.sampled_from([-np.inf, 0.0, 700.0]))
@settings(deadline=None, max_examples=60)
def test_the_kernel_is_a_plain_walk_over_the_digits(seed, extent, lanes, threshold):
    inputs, weights, bias = drawn(seed, extent)
    done = bit_serial.run(inputs, weights, bias, threshold=threshold, lanes=lanes)
    for (m, n), total in np.ndenumerate(done.sums):
        expected = walked(inputs[m].tolist(), weights[n].tolist(), int(bias[n]), threshold, lanes)
        assert (total, done.cycles[m, n], done.is_stopped[m, n]) == expected


@given(seeds, extents, lanes)
@settings(deadline=None, max_examples=60)
def test_accurate_mode_is_the_plain_layer_after_its_relu(seed, extent, lanes):
    inputs, weights, bias = drawn(seed, extent)
    exact = inputs @ weights.T + bias
    plain = bit_serial.run(inputs, weights, bias, threshold=-np.inf, lanes=lanes)
    assert (plain.sums == exact).all()
    assert (plain.cycles == plain.num_full_cycles).all()
    done = bit_serial.run(inputs, weights, bias, lanes=lanes)
    assert (done.relu == np.maximum(exact, 0)).all()
    assert (done.cycles[exact >= 0] == done.num_full_cycles).all()


@given(seeds, extents)
@settings(deadline=None, max_examples=60)
def test_prediction_errs_only_below_its_threshold_and_takes_no_longer(seed, extent):
    inputs, weights, bias = drawn(seed, extent)
    accurate = bit_serial.run(inputs, weights, bias)
    limits = np.array([0.0, 500.0, 2000.0, 9000.0])
    done = bit_serial.run(inputs, weights, bias, threshold=limits)
    assert (done.cycles <= accurate.cycles).all()
    wrong = done.relu != accurate.relu
    assert (done.relu[wrong] == 0).all()
    assert (accurate.relu[wrong] < np.broadcast_to(limits, wrong.shape)[wrong]).all()


@pytest.mark.parametrize(
    ("inputs", "weights", "bias", "said"),
    [
        ([[-1, 2]], [[1, 1]], [0], "an input is -1"),
        ([[1, 2]], [[-128, 1]], [0], "weights from -128 to 1; 8 bits hold -127 to 128"),
        ([[1, 2]], [[1, 1, 1]], [0], r"inputs \(1, 2\), weights \(1, 3\)"),
        ([[2**24]], [[1]], [0], "sums may reach 2147483648"),
    ],
)
def test_what_cannot_stop_early_or_overflows_is_refused(inputs, weights, bias, said):
    with pytest.raises(BadInput, match=said):
        bit_serial.run(np.array(inputs), np.array(weights), np.array(bias))
