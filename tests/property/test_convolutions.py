"""A convolution is one op: its extents belong together, its gradients and its row follow from them."""

from dataclasses import replace
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aisys
from aisys.cost import cost, graph_cost
from aisys.cost.gpu import limit
from aisys.errors import InvalidGraph
from aisys.frozen import FrozenMap
from aisys.ir import DTYPES, Block, Graph, Op, OpTable, Segment, rule, verify
from aisys.workload.image.layers import Layers, Window

SIZES = st.integers(1, 5)


def one_conv(
    *, batch: int = 2, groups: int = 1, channels: tuple[int, int] = (4, 6), side: tuple[int, int] = (9, 7),
    window: Window | None = None, has_bias: bool = False,
) -> Block:  # fmt: skip
    layers = Layers("block", batch, DTYPES["int8"])
    x = layers.image("x", groups * channels[0], side)
    y = layers.conv("y", x, groups * channels[1], window or Window(kernel=(3, 3)), groups=groups, has_bias=has_bias)
    return layers.block((x,), (y,))


def row_of(op: Op, block: Block) -> dict[str, object]:
    found = rule(op.kind).row(op, block.tensors)
    assert found is not None
    assert found[0] == "conv"
    return found[1]


def windows(side: int, kernel: int, stride: int, padding: int) -> list[set[int]]:
    """The rows of the image that each window sees, counted one by one; padding is outside."""
    starts = range(-padding, side + padding - kernel + 1, stride)
    return [{row for row in range(start, start + kernel) if 0 <= row < side} for start in starts]


@given(
    groups=SIZES, into=SIZES, out=SIZES, kernel=st.integers(1, 4), stride=st.integers(1, 3), padding=st.integers(0, 2),
    side=st.integers(4, 12),
)  # fmt: skip
def test_flop_and_extents_are_those_of_windows_counted_one_by_one(
    groups: int, into: int, out: int, kernel: int, stride: int, padding: int, side: int
) -> None:
    window = Window(kernel=(kernel, kernel), stride=stride, padding=padding)
    block = one_conv(groups=groups, channels=(into, out), side=(side, side), window=window)
    verify(Graph(name="one", segments=(Segment(block),)))
    num_windows = len(windows(side, kernel, stride, padding))
    assert block.tensors["y"].axes["height"] == num_windows
    assert block.ops[0].flop == 2 * 2 * groups * out * into * (num_windows * kernel) ** 2
    assert row_of(block.ops[0], block)["out_h"] == num_windows


@given(kernel=st.integers(1, 4), stride=st.integers(1, 3), side=st.integers(4, 12))
def test_compulsory_bytes_are_of_the_pixels_that_some_window_sees(kernel: int, stride: int, side: int) -> None:
    window = Window(kernel=(kernel, kernel), stride=stride)
    block = one_conv(batch=1, channels=(1, 1), side=(side, side), window=window)
    seen = len(set().union(*windows(side, kernel, stride, 0)))
    table = OpTable.of("conv", **row_of(block.ops[0], block))
    moved = cost(table, aisys.device("systolic-32x32"), tier="limit").traffic_bytes["dram"][0]
    assert moved == seen**2 + kernel**2 + block.tensors["y"].num_elements


def test_the_least_work_counts_every_product_and_every_operand_in_its_format() -> None:
    block = one_conv(groups=2, window=Window(kernel=(3, 3), padding=1))
    formats = {"a_dtype": "int8", "b_dtype": "bf16", "out_dtype": "fp32"}
    least = limit.work(OpTable.of("conv", **{**row_of(block.ops[0], block), **formats}))
    assert least.flop[0] == block.ops[0].flop
    pixels_seen = 2 * 8 * 11 * 9
    assert least.read_bytes[0] == pixels_seen + 2 * block.tensors["y.weight"].num_elements
    assert least.write_bytes[0] == 4 * block.tensors["y"].num_elements


def test_gradients_multiply_as_often_as_forward_and_read_what_they_need() -> None:
    block = one_conv(groups=2, window=Window(kernel=(3, 3), stride=2, padding=1), has_bias=True)
    forward = block.ops[0]
    assert rule("conv").saved(forward) == ("x", "y.weight")
    to_input, to_weight, to_bias = rule("conv").gradients(forward, block.tensors)
    assert (to_input.reads, to_input.writes, to_input.phase) == (("d.y", "y.weight"), ("d.x",), "input_gradient")
    assert (to_weight.reads, to_weight.writes, to_weight.phase) == (("x", "d.y"), ("d.y.weight",), "weight_gradient")
    assert (to_bias.kind, to_bias.writes, dict(to_bias.space)) == (
        "reduce", ("d.y.bias",), dict(block.tensors["y"].axes)
    )  # fmt: skip
    assert to_input.flop == to_weight.flop == forward.flop
    tensors = {**block.tensors, "d.y": block.tensors["y"], "d.x": block.tensors["x"]}
    tensors["d.y.weight"] = block.tensors["y.weight"]
    given_to = row_of(to_input, replace(block, tensors=FrozenMap(tensors)))
    assert (given_to["out_channels"], given_to["in_channels"], given_to["stride"]) == (4, 6, 1)


def test_a_training_step_of_a_network_has_three_times_the_products_of_forward() -> None:
    """Less the input gradient of the first layer, which no op needs but which is computed."""
    graph = aisys.read("resnet18")
    trained = aisys.technique("training_step")().apply(graph)

    def products(of: Graph) -> int:
        kinds = ("conv", "matmul")
        return sum(op.flop * s.repeat for s in of.segments for op in s.block.ops if op.kind in kinds)

    assert 2.9 * products(graph) < products(trained) <= 3 * products(graph)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"space": {"in_channel": 5}}, "has 5 channels in by its space, but 4"),
        ({"space": {"out_height": 9}}, "has 9 rows out by its space, but 7"),
        ({"options": {"stride": 0}}, "stride 0 and padding 0; use at least 1"),
        (
            {"options": {"stride": 2}},
            "puts 7 windows of 3 at stride 2 on a padded height of 9; use at most 4, of at most 9",
        ),
        ({"drop": "group"}, "is a conv without axis 'group'"),
    ],
)
def test_extents_that_do_not_belong_together_are_refused(change: dict[str, object], said: str) -> None:
    block = one_conv()
    op = block.ops[0]
    space = {axis: extent for axis, extent in op.space.items() if axis != change.get("drop")}
    space |= change.get("space", {})  # type: ignore[arg-type]
    options = {**op.options, **change.get("options", {})}  # type: ignore[dict-item]
    tensors = dict(block.tensors)
    if "in_channel" in change.get("space", {}):  # type: ignore[operator]
        weight = tensors["y.weight"]
        tensors["y.weight"] = replace(weight, axes=FrozenMap({**weight.axes, "in_channel": 5}))
    broken = replace(op, space=FrozenMap(space), options=FrozenMap(options))
    with pytest.raises(InvalidGraph, match=said):
        verify(Graph(name="one", segments=(Segment(replace(block, ops=(broken,), tensors=FrozenMap(tensors))),)))


def test_a_grid_computes_the_product_of_im2col_for_every_group() -> None:
    device = aisys.device("systolic-32x32")
    block = one_conv(groups=3, channels=(4, 40), side=(9, 7))
    convolved = cost(OpTable.of("conv", **row_of(block.ops[0], block)), device).counts
    product = OpTable.of(
        "matmul", batch=3, m=2 * 7 * 5, n=40, k=4 * 9, b_is_weight=False, a_dtype="int8", b_dtype="int8",
        out_dtype="int8", math="int8",
    )  # fmt: skip
    for name, counted in cost(product, device).counts.items():
        assert counted[0] == convolved[name][0], name


def test_processors_take_their_roofline_and_gpus_the_product_of_im2col() -> None:
    block = one_conv()
    row = row_of(block.ops[0], block)
    on_processor = cost(OpTable.of("conv", **{**row, "math": "fp32"}), aisys.device("xeon-core"))
    assert on_processor.time_s[0] > 0
    half = dict.fromkeys(("a_dtype", "b_dtype", "out_dtype", "math"), "bf16")
    pointwise = OpTable.of(
        "conv", batch=8, groups=1, out_channels=256, in_channels=512, out_h=28, out_w=28, kernel_h=1, kernel_w=1,
        stride=1, **half,
    )  # fmt: skip
    product = OpTable.of("matmul", batch=1, m=8 * 28 * 28, n=256, k=512, b_is_weight=True, **half)
    convolved, multiplied = (cost(table, aisys.device("h100-sxm")) for table in (pointwise, product))
    assert convolved.time_s[0] == multiplied.time_s[0]
    assert np.isnan(convolved.error_low[0])


def test_a_graph_costs_what_its_kernels_cost_as_often_as_they_run() -> None:
    graph, device = aisys.read("resnet18"), aisys.device("systolic-32x32")
    found = graph_cost(graph, device)
    assert found.time_s == pytest.approx(sum(k.repeat * k.time_s for k in found.kernels))
    assert found.energy_joule == pytest.approx(sum(k.repeat * k.energy_joule for k in found.kernels))
    twice = replace(graph, segments=(*graph.segments[:2], Segment(graph.segments[2].block, 4), *graph.segments[3:]))
    repeated = [k for k in found.kernels if k.block == graph.segments[2].block.name]
    more = graph_cost(twice, device).time_s - found.time_s
    assert graph.segments[2].repeat == 2
    assert more == pytest.approx(2 * sum(k.time_s for k in repeated))
    stem = found.kernels[0]
    assert (stem.ops, stem.counts["cycles"]) == (("conv",), prod((5, 2)) * (112 * 112 + 64 + 32 - 2))
    assert np.isfinite(found.time_s)
