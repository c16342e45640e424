"""Rounded weights move by half a step at most, and take exactly the bytes that the simulator prices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aisys.errors import BadInput, CannotApply
from aisys.frozen import FrozenMap
from aisys.ir import DTYPES, Block, Graph, Op, Segment, Tensor, dtype
from aisys.technique.training_step import TrainingStep
from aisys.technique.weight_quantization import WeightQuantization

VALUES = st.floats(-60_000, 60_000, width=32)


@given(arrays(np.float32, (8, 24), elements=VALUES), st.integers(2, 8), st.sampled_from([8, 24, 0]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_value_moves_more_than_half_a_step(array: np.ndarray, bits: int, group: int, is_symmetric: bool) -> None:
    packed = WeightQuantization(bits=bits, group=group, is_symmetric=is_symmetric).pack("w", array)
    error = np.abs(packed.unpack().astype(np.float64) - array)
    # Two roundings of fp32 arithmetic come on top of the half step: 2**-22 of the value.
    assert (error <= packed.steps / 2 + np.abs(array) * 2.0**-22).all()


@given(st.integers(2, 8), st.sampled_from([8, 16, 48]), st.booleans(), st.integers(1, 5))
@settings(deadline=None)
def test_priced_bytes_are_stored_bytes(bits: int, group: int, is_symmetric: bool, rows: int) -> None:
    rows *= 8
    quantization = WeightQuantization(bits=bits, group=group, is_symmetric=is_symmetric)
    layer = quantization.apply(linear(n=rows, k=48))
    packed = quantization.pack("fc.weight", np.ones((rows, 48)))
    assert layer.num_bytes("weight") == packed.num_bytes


def test_codes_survive_the_bits_that_hold_them() -> None:
    """Every value of the grid comes back unchanged, at every width."""
    for bits in range(2, 9):
        grid = np.arange(-(2 ** (bits - 1)) + 1, 2 ** (bits - 1), dtype=np.float32)
        grid = np.resize(grid, (8, len(grid)))
        packed = WeightQuantization(bits=bits, group=0).pack("w", grid)
        assert (packed.unpack() == grid).all()


def test_a_zero_point_leaves_one_step_per_code_and_ties_at_both_ends_stay_in_range() -> None:
    """-3.5 to 11.5 in 16 codes: steps of 1, zero at 4 (3.5 to even), and 11.5, which would be 16, held at 15."""
    quantization = WeightQuantization(bits=4, group=0, is_symmetric=False)
    packed = quantization.pack("w", np.array([[-3.5, 11.5, 0, 4.25]] * 2))
    assert packed.scales.tolist() == [[1.0]] * 2
    assert packed.unpack().tolist() == [[-4, 11, 0, 4]] * 2
    assert quantization.pack("w", np.array([[0, 15, 7, 3]] * 2)).unpack().tolist() == [[0, 15, 7, 3]] * 2


def test_the_error_of_int8_on_gaussian_weights_is_that_of_a_uniform_step() -> None:
    """Rounding to a step s of 127 per maximum leaves a root-mean-square error of s / sqrt(12), within 2 %."""
    weights = np.random.default_rng(1).standard_normal((512, 512)).astype(np.float32)
    packed = WeightQuantization(bits=8, group=128).pack("w", weights)
    error = (packed.unpack() - weights) / packed.steps
    assert np.sqrt((error**2).mean()) == pytest.approx(12**-0.5, rel=0.02)


def test_tensors_that_are_kept_or_read_elsewhere_stay() -> None:
    graph = linear(n=16, k=16, name="lm_head.weight")
    with pytest.raises(CannotApply, match="no matmul weight"):
        WeightQuantization(group=16).apply(graph)
    kept = {"lm_head.weight": np.ones((2, 16))}
    assert WeightQuantization(group=16).emulate(kept)["lm_head.weight"] is kept["lm_head.weight"]


def test_refusals_say_what_would_work() -> None:
    with pytest.raises(CannotApply, match=r"axis 'k' of 'fc.weight' has extent 4096, not a multiple of group=96"):
        WeightQuantization(group=96).apply(linear(n=8, k=4096))
    with pytest.raises(CannotApply, match="weight_quantization: bits=9; use 2 to 8"):
        WeightQuantization(bits=9)
    with pytest.raises(CannotApply, match="no whole number of bytes"):
        WeightQuantization(bits=3, group=4).apply(linear(n=1, k=4))
    with pytest.raises(CannotApply, match="the codes of 'w' take 12 bits"):
        WeightQuantization(bits=3, group=4).pack("w", np.ones((1, 4)))
    with pytest.raises(CannotApply, match="the zero points of 'w' take 9 bits"):
        WeightQuantization(bits=3, group=8, is_symmetric=False).pack("w", np.ones((1, 24)))
    with pytest.raises(BadInput, match="not finite"):
        WeightQuantization(group=4).pack("w", np.array([[1, 2, np.nan, 4]]))
    with pytest.raises(CannotApply, match="trains"):
        WeightQuantization(group=16).apply(TrainingStep().apply(linear(n=16, k=16)))


def test_grouped_formats_are_known_by_name() -> None:
    """Op tables hold names, so a name says everything that prices need."""
    layer = WeightQuantization(bits=4, group=32, is_symmetric=False).apply(linear(n=16, k=64))
    (weight,) = layer.blocks[0].tensors_of("weight")
    assert weight.dtype.name == "int4_g32_s16_z4"
    assert dtype(weight.dtype.name) == weight.dtype
    assert WeightQuantization().apply(linear(n=8, k=128)).blocks[0].tensors["fc.weight"].dtype == DTYPES["int4"]


def test_a_torch_module_is_rounded_in_a_copy() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    model = torch.nn.Sequential(torch.nn.Embedding(10, 64), torch.nn.Linear(64, 32), torch.nn.Linear(64, 10))
    model[2].weight = model[0].weight
    before = model[1].weight.detach().clone()
    quantization = WeightQuantization(bits=8, group=64)
    rounded = quantization.emulate(model)
    assert torch.equal(model[1].weight, before)
    expected = quantization.emulate({"w": before.numpy()})["w"]
    assert np.array_equal(rounded[1].weight.detach().numpy(), expected)
    assert torch.equal(rounded[0].weight, model[0].weight)


def linear(*, n: int, k: int, name: str = "fc.weight") -> Graph:
    """y = x w with w [n, k]."""
    tensors = {
        "x": Tensor("x", FrozenMap(m=8, k=k)),
        name: Tensor(name, FrozenMap(n=n, k=k), role="weight"),
        "y": Tensor("y", FrozenMap(m=8, n=n)),
    }
    op = Op(name="fc", kind="matmul", space=FrozenMap(m=8, n=n, k=k), reads=("x", name), writes=("y",))
    block = Block(name="layer", tensors=FrozenMap(tensors), ops=(op,), inputs=("x",), outputs=("y",))
    return Graph(name="linear", segments=(Segment(block),))
