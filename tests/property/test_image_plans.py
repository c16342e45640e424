"""Plans of image networks: microbatches, replicas, stages of hardware, and what rules them out."""

from dataclasses import replace
from math import isnan
from pathlib import Path

import numpy as np
import pytest

import aisys
from aisys.cli.plan_words import Held
from aisys.cost import graph_cost
from aisys.cost.fpga.dataflow import dataflow, fpga_of
from aisys.cost.fpga.layers import layers_of
from aisys.cost.fpga.resources import available
from aisys.errors import BadInput, CannotApply, DoesNotFit, UnknownName, Unsupported
from aisys.frozen import FrozenMap
from aisys.ir import Graph, Segment
from aisys.plan import Plan
from aisys.search import ForwardPass, Serving, search
from aisys.technique.integer_only import IntegerOnly
from aisys.technique.kernel_fusion import KernelFusion

INT8_MACHINES = ("generated-ws-8x8-pipelined", "systolic-32x32", "zcu104", "tpu-v6e", "h100-sxm")


def fused(name: str, batch: int) -> Graph:
    return KernelFusion().apply(IntegerOnly().apply(aisys.read(name, batch=batch)))


@pytest.mark.parametrize("name", INT8_MACHINES)
def test_a_microbatch_takes_what_its_kernels_take_one_after_another(name: str) -> None:
    machine = aisys.machine(name)
    alone = graph_cost(fused("mobilenet-v1", 4), machine.device)
    plan = Plan(micro_batch=4, num_microbatches=3, precision="int8")
    found = aisys.evaluate(
        ForwardPass(aisys.read("mobilenet-v1", batch=12)), machine, techniques=[IntegerOnly()], plan=plan
    )
    assert found.metrics["latency_s"] == pytest.approx(alone.time_s, rel=1e-12)
    assert found.time_s == pytest.approx(3 * alone.time_s, rel=1e-12)
    assert found.energy_joule == pytest.approx(3 * alone.energy_joule, rel=1e-12)
    assert sum(found.breakdown_s.values()) == pytest.approx(found.time_s, rel=1e-12)
    assert sum(line.time_s * line.repeat for line in found.ops) == pytest.approx(alone.time_s, rel=1e-12)
    assert (found.unit, found.throughput_per_s) == ("image", 12 / found.time_s)


def test_replicas_share_a_batch_and_add_up_their_energy() -> None:
    work = ForwardPass(aisys.read("resnet18", batch=64))
    one = search(work, aisys.machine("h100-sxm")).reports[0]
    eight = search(ForwardPass(aisys.read("resnet18", batch=512)), aisys.machine("dgx-h100")).reports[0]
    assert (eight.plan.data, eight.plan.micro_batch) == (8, one.plan.micro_batch)
    assert eight.time_s == pytest.approx(one.time_s, rel=1e-12)
    assert eight.energy_joule == pytest.approx(8 * one.energy_joule, rel=1e-12)
    price = float(aisys.device("h100-sxm").price_usd_per_hour)
    assert eight.usd_per_million == pytest.approx(price / 3600 * 8 * eight.time_s / 512 * 1e6, rel=1e-12)
    assert isnan(one.low_s), "convolutions were never validated on GPUs"


def test_linear_layers_keep_their_interval_over_all_microbatches() -> None:
    stages = [{"kind": "linear", "features": 512}, {"kind": "linear", "features": 10}]
    fields = {"model_type": "cnn", "image_size": 16, "num_channels": 4, "stages": stages}
    machine = aisys.machine("h100-sxm")
    ends = []
    for batch in (4, 12):
        plan = Plan(micro_batch=4, num_microbatches=batch // 4)
        found = aisys.evaluate(ForwardPass(aisys.read(fields, batch=batch)), machine, plan=plan)
        assert found.low_s < found.time_s < found.high_s
        ends.append((found.low_s, found.time_s, found.high_s))
    assert ends[1] == pytest.approx([3 * end for end in ends[0]], rel=1e-12)


def test_memory_holds_the_weights_once_and_the_largest_maps_of_a_microbatch() -> None:
    machine, work = aisys.machine("h100-sxm"), ForwardPass(aisys.read("vgg16", batch=8))
    held = [
        aisys.evaluate(work, machine, plan=Plan(micro_batch=size, num_microbatches=8 // size)).memory_bytes
        for size in (1, 8)
    ]
    assert held[0]["weight"] == held[1]["weight"] == 2 * aisys.read("vgg16").num_parameters
    largest = 2 * 64 * 224 * 224 * 2
    assert [h["activations"] for h in held] == [largest, 8 * largest]


def test_stages_take_an_interval_per_image_and_what_the_dataflow_takes_of_the_chip() -> None:
    device = aisys.device("ecp5-85k")
    made = dataflow(layers_of(aisys.read("digits")), device)
    frontier = search(ForwardPass(aisys.read("digits", batch=50)), aisys.machine("ecp5-85k"))
    (staged,) = [r for r in frontier.reports if r.plan.hardware == "staged"]
    assert staged.metrics["cycles"] == pytest.approx(made.latency_cycles + 49 * made.interval_cycles, rel=1e-12)
    assert staged.metrics["latency_s"] == made.latency_cycles / made.clock_hz
    there = available(fpga_of(device))
    shares = ("lut_share", there.luts), ("dsp_share", 156), ("block_memory_share", 208)
    used = (made.resources.luts, made.resources.dsps, made.resources.block_memories)
    assert [staged.metrics[name] for name, _ in shares] == [n / most for n, (_, most) in zip(used, shares, strict=True)]
    assert sum(staged.breakdown_s.values()) == pytest.approx(staged.time_s, rel=1e-12)
    assert frontier.reports[0] is staged
    assert {r.plan.hardware for r in frontier.reports} == {"shared", "staged"}


def test_stages_spend_on_products_on_images_and_on_waiting() -> None:
    """Two chips: each takes half of the images, each is powered while the batch lasts."""
    device = aisys.device("ecp5-85k")
    two = replace(aisys.machine("dgx-h100"), device=device, mesh=FrozenMap(node=2))
    made = dataflow(layers_of(aisys.read("digits")), device)
    found = aisys.evaluate(
        ForwardPass(aisys.read("digits", batch=40)), two, plan=Plan(data=2, num_microbatches=20, hardware="staged")
    )
    fpga = fpga_of(device)
    assert found.time_s == pytest.approx((made.latency_cycles + 19 * made.interval_cycles) / fpga.clock_hz, rel=1e-12)
    moved, macs = 40 * (64 + 10), 40 * 25_600
    spent = (
        macs * fpga.energy_joule_per_mac
        + moved * device.main_memory.energy_joule_per_byte
        + 2 * found.time_s * device.idle_watt
    )
    assert found.energy_joule == pytest.approx(float(spent), rel=1e-12)
    assert found.memory_bytes == {"activations": moved / 2}


def test_a_stage_waits_for_the_rows_of_its_first_window_padding_included() -> None:
    stem, *_ = layers_of(IntegerOnly().apply(aisys.read("resnet18", batch=2)))
    assert (stem.k, stem.n, stem.num_vectors, stem.num_rows) == (3 * 7 * 7, 64, 112 * 112, 112)
    assert (stem.num_kernel_rows, stem.num_in_rows, stem.row_elements) == (7, 230, 230 * 3)
    deep = layers_of(IntegerOnly().apply(aisys.read("mobilenet-v1")))[1]
    assert (deep.k, deep.n, deep.num_vectors, deep.row_elements) == (9, 32, 112 * 112, 114 * 32)


@pytest.mark.parametrize("name", ["digits", "resnet18", "mobilenet-v1", "mobilenet-v2", "alexnet"])
def test_the_layers_of_stages_do_all_multiplications_of_a_graph(name: str) -> None:
    """For one image, whatever the batch; depthwise convolutions too. Weights are those of the graph."""
    graph = IntegerOnly().apply(aisys.read(name, batch=3))
    layers = layers_of(graph)
    products = [op.flop * s.repeat for s in graph.segments for op in s.block.ops if op.kind in ("conv", "matmul")]
    assert 3 * sum(layer.macs for layer in layers) == sum(products) // 2
    biases_and_norms = sum(
        s.repeat * t.num_elements for s in graph.segments for t in s.block.tensors_of("weight") if t.dtype.bits == 32
    )
    assert sum(layer.k * layer.n for layer in layers) == graph.num_parameters - biases_and_norms


def test_stages_that_the_chip_has_no_room_for_are_ruled_out_with_what_is_short() -> None:
    work = ForwardPass(aisys.read("resnet18", batch=4))
    found = search(work, aisys.machine("zcu104"), techniques=[IntegerOnly()])
    assert {r.plan.hardware for r in found.reports} == {"shared"}
    assert found.num_pruned == 1
    said = "a stage of hardware per layer is ruled out: the layers need 5,811 block memories (624 there) on zcu104"
    assert found.binding_constraint.startswith(said)


def test_a_limit_on_latency_takes_smaller_microbatches() -> None:
    work, machine = ForwardPass(aisys.read("digits", batch=64)), aisys.machine("systolic-32x32")
    free = search(work, machine).reports[0]
    limit = free.metrics["latency_s"] / 4
    held = search(work, machine, at_most={"latency_s": limit}).reports[0]
    assert held.plan.micro_batch < free.plan.micro_batch
    assert held.metrics["latency_s"] <= limit
    assert held.time_s > free.time_s
    with pytest.raises(DoesNotFit, match="keeps latency_s at most 1e-12 s: the best reaches"):
        search(work, machine, at_most={"latency_s": 1e-12})
    with pytest.raises(UnknownName, match="nearest known: latency_s"):
        search(work, machine, at_most={"ttft_s": 1.0})


def test_what_cannot_be_planned_is_refused() -> None:
    digits, fpga = ForwardPass(aisys.read("digits", batch=12)), aisys.machine("zcu104")
    with pytest.raises(CannotApply, match="12 images do not spread over the 8 devices of dgx-h100"):
        search(digits, aisys.machine("dgx-h100"))
    with pytest.raises(
        Unsupported, match="a_dtype is bf16; quantize the op to int8, or a network by technique integer"
    ):
        search(ForwardPass(aisys.read("resnet18")), aisys.machine("generated-ws-8x8-pipelined"))
    with pytest.raises(CannotApply, match="tensor=2: an image network is only replicated"):
        search(digits, fpga, techniques=[aisys.TensorParallel(2)])
    with pytest.raises(BadInput, match="the plan runs 10 images, the workload has 12"):
        aisys.evaluate(digits, fpga, plan=Plan(micro_batch=10))
    with pytest.raises(CannotApply, match="h100-sxm is no FPGA"):
        aisys.evaluate(digits, aisys.machine("h100-sxm"), plan=Plan(num_microbatches=12, hardware="staged"))


def test_language_models_have_no_stages_of_hardware() -> None:
    machine = aisys.machine("h100-sxm")
    prompt = aisys.read("gpt2", batch=2, tokens=8)
    served = Serving(prompt, aisys.read("gpt2", batch=2, tokens=1, cached_tokens=8))
    staged = Plan(micro_batch=2, hardware="staged")
    with pytest.raises(CannotApply, match="hardware cannot be one of"):
        search(served, machine, techniques=[Held(FrozenMap(hardware=("staged",)))])
    with pytest.raises(CannotApply, match="for image networks on FPGAs"):
        aisys.evaluate(served, machine, plan=staged)
    with pytest.raises(CannotApply, match="for image networks on FPGAs"):
        aisys.evaluate(prompt, machine, techniques=[aisys.TrainingStep()], plan=staged)


def test_a_network_larger_than_the_memory_does_not_fit(tmp_path: Path) -> None:
    small = tmp_path / "small.toml"
    facts = 'source = "a test"\nkind = "assumed"\nmemories.dram.capacity_bytes = 1e8\n'
    small.write_text(f'name = "small"\nbase = "systolic-32x32"\n[[facts]]\n{facts}')
    work, machine = ForwardPass(aisys.read("vgg16", batch=2)), aisys.machine(str(small))
    with pytest.raises(DoesNotFit, match=r"vgg16 does not fit small: even one image at a time needs .* more than each"):
        search(work, machine, techniques=[IntegerOnly()])
    found = search(ForwardPass(aisys.read("mobilenet-v1", batch=128)), machine, techniques=[IntegerOnly()])
    assert found.binding_constraint == "memory of small rules out 1 plan with larger microbatches"
    assert max(report.plan.micro_batch for report in found.reports) == 64


@pytest.mark.parametrize("name", ["digits", "resnet18", "mobilenet-v2", "alexnet"])
def test_convolutions_take_in_the_norms_and_activations_that_follow_them(name: str) -> None:
    """What remains beside products are poolings, residual sums and activations of linear layers; a norm leaves its
    shift, and nothing changes in what products do."""
    graph = aisys.read(name, batch=2)
    folded = KernelFusion().apply(graph)
    kinds = {op.kind for block in folded.blocks for op in block.ops if op.kind != "view"}
    assert kinds <= {"conv", "matmul", "pool", "add", "activation"}
    assert "norm" not in kinds
    norms = sum(s.repeat * op.space["channel"] for s in graph.segments for op in s.block.ops if op.kind == "norm")
    assert folded.num_parameters == graph.num_parameters - norms
    products = [
        sum(op.flop * s.repeat for s in g.segments for op in s.block.ops if op.kind in ("conv", "matmul"))
        for g in (graph, folded)
    ]
    assert products[0] == products[1]


def test_a_norm_that_something_else_reads_beside_stays() -> None:
    """The sum of a residual branch reads the same tensor as the first convolution; that of a conv read twice stays."""
    graph = aisys.read("resnet18")
    (block,) = [b for b in graph.blocks if b.name == "conv1"]
    both = replace(block, outputs=(*block.outputs, "conv"))
    kept = KernelFusion().apply(Graph(name="two", segments=(Segment(both),)))
    assert "norm" in {op.kind for op in kept.blocks[0].ops}


def test_integer_only_stores_a_byte_per_weight_and_four_per_bias() -> None:
    graph = aisys.read("mobilenet-v1", batch=2)
    made = IntegerOnly().apply(graph)
    by_bits = dict.fromkeys((8, 32), 0)
    for segment in made.segments:
        for tensor in segment.block.tensors_of("weight"):
            by_bits[tensor.dtype.bits] += segment.repeat * tensor.num_elements
    assert sum(by_bits.values()) == graph.num_parameters
    assert made.num_bytes("weight") == by_bits[8] + 4 * by_bits[32]
    assert {t.dtype.name for b in made.blocks for t in b.tensors_of("activation")} == {"int8"}
    assert made.flop == graph.flop
    with pytest.raises(CannotApply, match="of 'smollm2-135m' is computed in floating point"):
        IntegerOnly().apply(aisys.read("smollm2-135m", tokens=8))


def test_rounding_to_int8_moves_no_weight_by_more_than_half_a_step_of_its_channel() -> None:
    weight = np.random.default_rng(3).standard_normal((16, 8, 3, 3))
    weight[2] = 0
    rounded = IntegerOnly().emulate({"conv": weight})["conv"]
    steps = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / 127
    assert (np.abs(rounded - weight) <= steps / 2 * (1 + 1e-12)).all()
    levels = np.rint(rounded / np.where(steps > 0, steps, 1))
    assert np.abs(levels).max() == 127
    assert rounded == pytest.approx(levels * steps)
