"""2:4 tensor cores: half the stored values, at most twice as fast, and near what was measured."""

from dataclasses import replace

import numpy as np
import pytest

import aisys
from aisys.cost import cost, graph_cost
from aisys.cost.gpu.stack import with_constants
from aisys.errors import BadInput, CannotApply, Unsupported
from aisys.ir import OpTable, dtype
from aisys.ir.sparse_format import Grouped
from aisys.machine import load
from aisys.technique.structured_sparsity import StructuredSparsity
from aisys.technique.weight_quantization import WeightQuantization
from aisys.units import Sourced
from aisys.validate.prediction import Options
from aisys.validate.sparse24 import predict
from aisys.validate.table import read_table


def seconds(shape, *, is_sparse, device="a100-sxm4-80gb", tier="analytic"):
    m, n, k = shape
    kind = "fp16_2of4" if is_sparse else "fp16"
    table = OpTable.of(
        "matmul", batch=1, m=np.array([m]), n=np.array([n]), k=np.array([k]), b_is_weight=True, a_dtype="fp16",
        b_dtype=kind, out_dtype="fp16", math=kind,
    )  # fmt: skip
    return float(cost(table, load.device(device), tier=tier).time_s[0])


TABLE = """# table: sparse24
# kind: measured
# source: torchao, README of sparsity and of its training @02446fa5, commit 881ae2c (A100)
# units: as in column
source,workload,config,metric,value
a,ViT-L linear (13008;1024;4096) fp16,dense,ms,1.660793
a,ViT-L linear (13008;1024;4096) fp16,2:4,ms,1.341983
a,ViT-L MLP fwd+bwd f16 (44160;1024;4096;1024),dense,us,11534.3
a,ViT-L MLP fwd+bwd f16 (44160;1024;4096;1024),w24,us,9204.7
a,ViT-L MLP fwd+bwd f16 (44160;1024;4096;1024),act24,us,11881.0
a,SAM ViT-h bs32 bf16,dense,img/s,22.75
a,SAM ViT-h bs32 bf16,2:4 mlp only,img/s,24.81
a,SAM ViT-h bs32 bf16,2:4 mlp only,mIoU,0.5672
a,Llama-3-8B,int4wo-64,tok/s,180.80
a,Llama-3-8B,int4wo-64-sparse-marlin,tok/s,226.02
a,Llama-3-8B,int4wo-64,model GB,4.22
a,Llama-3-8B,int4wo-64-sparse-marlin,model GB,3.05
a,ViT-L train step bs8,dense,ms,717.598748
a,ViT-L train step bs8,2:4 mlp,ms,675.275311
a,any,2:4 matmul upper bound as stated,x,1.7
"""


def test_speed_ups_are_near_what_was_measured_and_sizes_are_equal(tmp_path):
    """One constant is fitted, on two of these rows; the others stay within 12 %, and sizes within their last digit."""
    path = tmp_path / "sparse24.csv"
    path.write_text(TABLE)
    found = predict(read_table(path), tier="analytic", options=Options())
    speed_up = {1: 1.660793 / 1.341983, 3: 11534.3 / 9204.7, 6: 24.81 / 22.75, 9: 226.02 / 180.80, 14: 1.7}
    for row, measured in speed_up.items():
        assert found.measured[row] == pytest.approx(measured)
        assert abs(found.predicted[row] / measured - 1) < 0.12
    assert found.predicted[10:12] == pytest.approx([4.22, 3.05], abs=0.005)
    reasons = dict(found.skipped)
    assert set(reasons) == {0, 2, 4, 5, 7, 8, 12, 13}
    assert "activations that are pruned in every step have no technique" in reasons[4]
    assert "how many tokens its step has" in reasons[13]


def test_results_are_copied_into_rows_unless_the_kernel_unpacks_its_weights():
    """A third of the results crosses the memory in and out; the copies of a wide result take their bytes' time."""
    device = load.device("a100-sxm4-80gb")
    share = float(device.architecture.constant("matmul.two_of_four.result_passes"))
    assert 0.3 < share < 0.4
    none = with_constants(device, {"matmul.two_of_four.result_passes": Sourced(0.0, source="a test", kind="assumed")})
    table = OpTable.of(
        "matmul", batch=1, m=65536, n=8192, k=1024, b_is_weight=True, a_dtype="fp16", out_dtype="fp16",
        b_dtype=["fp16_2of4", "int4_g64_s16_2of4", "fp16"], math=["fp16_2of4", "fp16_2of4", "fp16"],
    )  # fmt: skip
    more = cost(table, device).time_s - cost(table, none).time_s
    copied = share * 2 * 65536 * 8192 * 2
    assert 0.7 < copied / more[0] / 2.039e12 < 0.8
    assert more[1:].tolist() == [0, 0]


def test_less_is_unpacked_and_waited_for():
    """A thin product of int4 weights waits for its pipeline along k: of 2:4 weights, along half of it."""
    table = OpTable.of(
        "matmul", batch=1, m=1, n=4096, k=4096, b_is_weight=True, a_dtype="bf16", out_dtype="bf16",
        b_dtype=["int4_g64_s16", "int4_g64_s16_2of4"], math=["bf16", "bf16_2of4"],
    )  # fmt: skip
    dense, sparse = cost(table, load.device("a100-sxm4-80gb")).time_s
    assert dense - sparse > 4096 * 4096 * 1.0 / 8 / 2.039e12


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
