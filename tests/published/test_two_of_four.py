"""2:4 tensor cores: half the stored values, at most twice as fast, and near what was measured without any fit."""

from dataclasses import replace

import numpy as np
import pytest

import aisys
from aisys.cost import cost, graph_cost
from aisys.errors import BadInput, CannotApply, Unsupported
from aisys.ir import OpTable, dtype
from aisys.ir.sparse_format import Grouped
from aisys.machine import load
from aisys.technique.structured_sparsity import StructuredSparsity
from aisys.technique.weight_quantization import WeightQuantization


def seconds(shape, *, is_sparse, device="a100-sxm4-80gb", tier="analytic"):
    m, n, k = shape
    kind = "fp16_2of4" if is_sparse else "fp16"
    table = OpTable.of(
        "matmul", batch=1, m=np.array([m]), n=np.array([n]), k=np.array([k]), b_is_weight=True, a_dtype="fp16",
        b_dtype=kind, out_dtype="fp16", math=kind,
    )  # fmt: skip
    return float(cost(table, load.device(device), tier=tier).time_s[0])


def step(tokens, inner, out, *, is_sparse):
    """Forward, and the gradients of the input, by the sparse weight, and of the weight, which is dense."""
    ahead = [(tokens, out, inner), (tokens, inner, out)]
    return sum(seconds(s, is_sparse=is_sparse) for s in ahead) + seconds((out, inner, tokens), is_sparse=False)


@pytest.mark.parametrize(
    ("tokens", "layers", "dense", "sparse"),
    [
        (13008, [(1024, 4096)], 1.660793, 1.341983),
        (44160, [(1024, 4096), (4096, 1024)], 11.5343, 9.2047),
    ],
)
def test_a_training_step_gains_what_torchao_measured_on_an_a100(tokens, layers, dense, sparse):
    """1.24x and 1.25x, in milliseconds; ours is 1.36x. Nothing is fitted on sparse kernels; pruning the weights in
    every step, biases and GELU are left out: 12 %, and always on the fast side."""
    plain, gained = (sum(step(tokens, *layer, is_sparse=s) for layer in layers) for s in (False, True))
    assert 1 < (plain / gained) / (dense / sparse) < 1.12


@pytest.mark.parametrize("shape", [(16, 4096, 4096), (4096, 4096, 4096), (13008, 4096, 1024)])
def test_the_gain_is_below_two_for_one_operand_comes_whole(shape):
    assert 1 < seconds(shape, is_sparse=False) / seconds(shape, is_sparse=True) < 2
    assert seconds(shape, is_sparse=True, tier="limit") < seconds(shape, is_sparse=True)


def test_a_device_before_ampere_is_refused():
    with pytest.raises(Unsupported, match="no 2:4 tensor cores; use sm80 or later, or fp16"):
        seconds((64, 64, 64), is_sparse=True, device=next(n for n in aisys.list_devices() if n.startswith("v100")))


def test_priced_bytes_are_those_of_two_values_and_two_places_in_four():
    weights = StructuredSparsity().prune("w", np.random.default_rng(0).standard_normal((16, 64)))
    stored = Grouped(2, 4).num_bits(weights != 0, 16)
    assert dtype("fp16_2of4").num_bytes(weights.size) * 8 == stored == dtype("bf16_2of4").num_bytes(weights.size) * 8


def test_the_two_largest_of_four_stay():
    pruned = StructuredSparsity().emulate({"w": np.array([[1.0, -4, 3, 2, 5, 5, 5, 0]]), "lm_head": np.ones((1, 3))})
    assert pruned["w"].tolist() == [[0, -4, 3, 0, 5, 5, 0, 0]]
    assert (pruned["lm_head"] == 1).all()
    with pytest.raises(CannotApply, match="axis 'last' of 'w' has extent 6"):
        StructuredSparsity().emulate({"w": np.ones((2, 6))})


def test_a_network_of_convolutions_takes_about_half_the_cycles_where_weights_stay_in_place():
    """Every layer but the first and the last: their k is halved, and folds that were full stay full."""
    graph, array = aisys.read("resnet18"), aisys.device("systolic-32x32")
    keep = ("conv.weight", "*fc*")
    sparse = StructuredSparsity(keep=keep).apply(graph)
    dense, halved = graph_cost(graph, array), graph_cost(sparse, array)
    assert sparse.flop == graph.flop
    for before, after in zip(dense.kernels, halved.kernels, strict=True):
        if before.kind == "conv":
            share = after.counts["cycles"] / before.counts["cycles"]
            assert share == 1 if before is dense.kernels[0] else 0.5 <= share < 0.56
    assert halved.time_s < dense.time_s
    with pytest.raises(Unsupported, match="N:M weights stay in place; dataflow 'os'"):
        graph_cost(sparse, replace(array, architecture=replace(array.architecture, dataflow="os")))
    with pytest.raises(Unsupported, match="tpu-v5e multiplies every weight"):
        graph_cost(sparse, aisys.device("tpu-v5e"))


def test_quantized_weights_are_pruned_too_and_any_n_of_m_has_a_format():
    graph = aisys.read("smollm2-135m", tokens=1)
    small = StructuredSparsity().apply(WeightQuantization(bits=4, group=64).apply(graph))
    names = {tensor.dtype.name for block in small.blocks for tensor in block.tensors.values()}
    assert {"int4_g64_s16_2of4"} == {name for name in names if "of" in name}
    assert dtype("int4_g64_s16_2of4").bits_per_element == (4 + 2) / 2 + 16 / 64
    assert dtype("int4_g64_s16_2of4").family == "int4_2of4"
    assert dtype("int8_1of8").bits_per_element == (8 + 3) / 8
    with pytest.raises(BadInput, match="3:2"):
        StructuredSparsity(kept=3, of=2)


def test_a_model_keeps_its_flop_and_stores_less():
    graph = aisys.read("smollm2-135m", tokens=2048)
    sparse = StructuredSparsity().apply(graph)
    assert sparse.flop == graph.flop
    assert sparse.num_bytes("weight") < 0.7 * graph.num_bytes("weight")
    with pytest.raises(CannotApply, match="trains"):
        StructuredSparsity().apply(aisys.TrainingStep().apply(graph))
