"""A graph as the layers that an FPGA gives stages of hardware."""

from collections.abc import Mapping
from math import prod

from aisys.cost.fpga.dataflow import Layer
from aisys.errors import Unsupported
from aisys.ir import Graph, Op, Tensor
from aisys.ir.rules import matmul_axes

_PASSING = ("view", "activation", "norm", "add", "pool", "cast")
"""Ops that work on a stream of elements as it passes."""


def layers_of(graph: Graph) -> tuple[Layer, ...]:
    """One layer per convolution and product with a weight, in order, for one image of the batch.

    What stands between them passes at the speed of its neighbours; branches are taken as a chain, and what holds the
    shorter branch meanwhile is not counted. Raises Unsupported for other ops, and for operands that are no integers.
    """
    found = []
    for number, block in enumerate(graph.layers, 1):
        for op in block.ops:
            if op.kind in _LAYERS:
                found.append(_LAYERS[op.kind](f"{number}.{block.name}.{op.name}", op, block.tensors))
            elif op.kind not in _PASSING:
                raise Unsupported(f"{op.kind} {op.name!r} of {graph.name!r} has no stage of hardware on an FPGA")
    if not found:
        raise Unsupported(f"{graph.name!r} has no layer that multiplies; there is nothing to give stages")
    return tuple(found)


def _of_conv(name: str, op: Op, tensors: Mapping[str, Tensor]) -> Layer:
    """Depthwise convolutions are layers of few inputs: each output channel sums over those of its group."""
    s, x, padding = op.space, tensors[op.reads[0]], int(op.options.get("padding", 0))
    weight_bits, activation_bits = _bits(name, op, tensors)
    return Layer(
        name=name, k=s["in_channel"] * s["kernel_height"] * s["kernel_width"], n=s["group"] * s["out_channel"],
        num_vectors=s["out_height"] * s["out_width"], num_rows=s["out_height"], num_kernel_rows=s["kernel_height"],
        num_in_rows=x.axes["height"] + 2 * padding, row_elements=(x.axes["width"] + 2 * padding) * x.axes["channel"],
        weight_bits=weight_bits, activation_bits=activation_bits,
    )  # fmt: skip


def _of_matmul(name: str, op: Op, tensors: Mapping[str, Tensor]) -> Layer:
    if tensors[op.reads[1]].role != "weight":
        raise Unsupported(f"{name} multiplies two activations; a stage of hardware holds weights")
    axes = matmul_axes(op, tensors)
    k, n, m = (prod(op.space[axis] for axis in axes[part] if axis != "batch") for part in "knm")
    weight_bits, activation_bits = _bits(name, op, tensors)
    return Layer(name=name, k=k, n=n, num_vectors=m, weight_bits=weight_bits, activation_bits=activation_bits)


def _bits(name: str, op: Op, tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """Bits of weights and of activations."""
    activations, weights = (tensors[read].dtype for read in op.reads[:2])
    for given in (weights, activations):
        if given.is_float:
            raise Unsupported(
                f"layer {name} multiplies {given.name}, and stages of hardware integers; apply integer_only"
            )
    return int(weights.bits), int(activations.bits)


_LAYERS = {"conv": _of_conv, "matmul": _of_matmul}
