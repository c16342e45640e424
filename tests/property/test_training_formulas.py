"""What a training step is made of: experts' products, whole recomputation, groups of odd extent, tied gradients, energy
of the update, the slowest of many devices."""

import math
from dataclasses import replace

import numpy as np
import pytest

from aisys.ir import kernels
from aisys.lower.communication import places, seconds
from aisys.lower.framework import framework
from aisys.lower.local import both, slowest
from aisys.lower.shares import Habits, Setting, Shop, variant
from aisys.lower.stages import PARTS
from aisys.lower.step import evaluate_steps, timeline
from aisys.machine.load import machine
from aisys.plan import Plan, PlanTable
from aisys.plan.groups import groups
from aisys.technique.training_step import TrainingStep
from aisys.units import Sourced
from aisys.workload import read

NODE = machine("dgx-h100")
MOE = TrainingStep().apply(read("mixtral-8x7b", batch=1, tokens=2048, num_layers=2))
DENSE = TrainingStep().apply(read("llama-3.1-8b", batch=1, tokens=2048, num_layers=4))
TIED = TrainingStep().apply(read("gpt2", batch=1, tokens=1024, num_layers=4))
ROWS_PER_EXPERT = 2048 * 2 // 8


def _expert_rows(graph, phase):
    block = graph.segments[1].block
    found = kernels([op for op in block.ops if op.phase == phase], block.tensors)
    return [k for k in found if k.ops[0].kind == "grouped_matmul"]


def _setting(graph, **numbers):
    of = framework("megatron-core")
    known = {name: Sourced(value, source="a test", kind="assumed", key=name) for name, value in numbers.items()}
    return Setting(graph=graph, machine=NODE, framework=replace(of, **known))


@pytest.mark.parametrize("is_separate", [False, True])
@pytest.mark.parametrize("phase", ["forward", "input_gradient", "weight_gradient"])
def test_products_of_experts_do_the_flop_of_their_ops(phase, is_separate):
    graph = variant(MOE, "bf16", "none", Habits(has_separate_experts=is_separate))
    rows = _expert_rows(graph, phase)
    assert rows
    for kernel in rows:
        kind, row = kernel.row
        assert (kind == "matmul") == (is_separate or phase == "weight_gradient")
        assert 2 * row.get("batch", 1) * row["m"] * row["n"] * row["k"] == sum(op.flop for op in kernel.ops)


def test_each_expert_sums_the_gradient_of_its_weights_over_its_own_rows():
    for kernel in _expert_rows(MOE, "weight_gradient"):
        row = kernel.row[1]
        assert (row["batch"], row["k"]) == (8, ROWS_PER_EXPERT)


def test_gate_and_up_of_experts_share_the_sum_of_their_input_gradients():
    fused = [k for k in _expert_rows(MOE, "input_gradient") if len(k.ops) == 2]
    assert [(k.row[1]["n"], k.row[1]["k"]) for k in fused] == [(4096, 2 * 14336)]


def test_full_recomputation_that_does_not_stop_early_runs_every_op_of_a_layer_again():
    again = {}
    for reruns in (True, False):
        block = variant(DENSE, "bf16", "full", Habits(reruns_layers=reruns)).segments[1].block
        again[reruns] = [op.name.removesuffix(".again") for op in block.ops if op.phase == "recompute"]
    assert again[True] == [op.name for op in DENSE.segments[1].block.ops if op.phase == "forward"]
    assert len(again[False]) < len(again[True])
    assert set(again[False]) < set(again[True])


def test_a_group_whose_last_node_is_not_full_fills_the_others():
    many = machine("dgx-h100*1452")
    found = groups(Plan(tensor=4, pipeline=8, data=363), many)["data"]
    assert (found.size, found.members) == (363, (("node", 2), ("network", 182)))
    even = groups(Plan(tensor=4, pipeline=8, data=336), many)["data"]
    assert (even.sharing, even.members) == (found.sharing, (("node", 2), ("network", 168)))


def test_tied_gradients_cross_once_between_the_ends_of_a_pipeline():
    shop = Shop(_setting(TIED))
    plan = Plan(pipeline=4, num_microbatches=4)
    _, made = timeline(shop, plan)
    share = shop.known[0]
    size = share.shared_elements[:1] * float(shop.setting.framework.reduced_bytes_per_element)
    once = seconds("send_recv", size, places(PlanTable.of([plan]), NODE)["pipeline"], NODE)
    assert made.gradients_s[0].tolist() == [once[0], 0.0, 0.0, once[0]]
    assert once[0] > 0


def test_the_update_of_the_weights_takes_energy_once_per_step():
    shop = Shop(_setting(DENSE))
    joule, update_s = [], []
    for microbatches in (1, 2, 3):
        _, made = timeline(shop, Plan(data=8, num_microbatches=microbatches))
        joule.append(float(made.active_joule[0]))
        update_s.append(float(made.breakdown_s[0, 0, PARTS.index("optimizer")] - shop.setting.framework.step_s))
    per_microbatch = joule[1] - joule[0]
    assert joule[2] - joule[1] == pytest.approx(per_microbatch, rel=1e-9)  # sums of floats in another order
    update = (joule[0] - per_microbatch) / 8
    device = NODE.device
    assert 0 < update < (float(device.max_watt) - float(device.idle_watt)) * update_s[0]


def test_the_slowest_of_more_devices_is_slower_by_the_extremes_of_a_sample():
    of = _setting(DENSE, device_spread=0.01).framework
    few, many = slowest(PlanTable.of([Plan(data=8), Plan(data=8, tensor=8, pipeline=16, context=2)]), of)
    assert few == pytest.approx(1 + 0.01 * math.sqrt(2 * math.log(8)), rel=1e-12)  # one rounding per operation
    assert many == pytest.approx(1 + 0.01 * math.sqrt(2 * math.log(2048)), rel=1e-12)


def test_uneven_experts_and_their_fp8_kernels_stretch_products_of_experts_alone():
    plans = PlanTable.of([Plan(data=8, expert=8, precision=p) for p in ("bf16", "fp8")])
    base = dict(expert_factor=1.0, expert_fp8_factor=1.0, fp8_factor=1.0, compute_factor=1.0, device_spread=0.0)
    place, plain = PARTS.index("grouped_matmul"), PARTS.index("matmul")
    usual, slower = (
        evaluate_steps(Shop(_setting(MOE, **{**base, **more})), plans).breakdown_s
        for more in ({}, {"expert_factor": 1.5, "expert_fp8_factor": 2.0})
    )
    np.testing.assert_allclose(slower[:, place] / usual[:, place], [1.5, 2.0], rtol=0.02)  # routers stay in bf16
    np.testing.assert_allclose(slower[:, plain], usual[:, plain], rtol=1e-12)


@pytest.mark.parametrize(("tensor", "exponent"), [(1, 8.0), (4, 4.0), (256, 1.0)])
def test_host_and_device_hide_each_other_less_in_wider_tensor_groups(tensor, exponent):
    of = _setting(DENSE, host_exponent=8.0).framework
    device, host = np.full((2, 1, 1), 3.0), np.full((2, 1, 1), 4.0)
    together = both(device, host, np.array([float(tensor)]), of)
    np.testing.assert_allclose(together, (3.0**exponent + 4.0**exponent) ** (1 / exponent), rtol=1e-12)
