"""The contract of a technique."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from math import prod
from typing import Any

import numpy as np

from aisys.errors import InvalidGraph
from aisys.ir import Graph, Tensor, verify
from aisys.plan.space import PlanSpace
from aisys.testing.contract import ContractBroken, require

_VERBS = ("apply", "constrain", "rewrite", "emulate")
_MOST_ELEMENTS = 4_000_000
"""Larger weights are not made for real."""


def check_technique(technique: Any, graph: Graph, *, keeps_flop: bool = False) -> None:
    """Raises ContractBroken unless `technique` does on `graph` what every technique promises.

    It is a frozen dataclass with at least one verb. `apply` gives a graph that passes `ir.verify`, the same each time,
    and leaves its argument as it was; with keeps_flop the flop stay too. `constrain` gives the same space each time,
    and once is enough. `emulate`, on arrays for the weights that `apply` changed, gives arrays of the same shapes, the
    same each time, and leaves its argument as it was; where the technique can `pack(name, array)`, what it stores has
    exactly the bytes that `apply` prices.
    """
    name = type(technique).__name__
    params = getattr(type(technique), "__dataclass_params__", None)
    require(is_dataclass(technique) and bool(params and params.frozen), f"{name}: make it a frozen dataclass")
    require(hash(technique) == hash(technique), f"{name}: its options have no hash")
    verbs = [verb for verb in _VERBS if callable(getattr(technique, verb, None))]
    require(bool(verbs), f"{name}: has none of the verbs {', '.join(_VERBS)}")
    if "constrain" in verbs:
        _check_constraint(technique, name)
    if "apply" not in verbs:
        return
    applied = _applied(technique, graph, name)
    if keeps_flop:
        require(applied.flop == graph.flop, f"{name}: changes the flop from {graph.flop} to {applied.flop}")
    if "emulate" in verbs:
        _check_emulation(technique, _changed_weights(graph, applied), name)


def _check_constraint(technique: Any, name: str) -> None:
    """Of what a decision may be, a constraint leaves some, and a second time it changes nothing."""
    free = PlanSpace()
    held = technique.constrain(free)
    require(isinstance(held, PlanSpace), f"{name}: constrain gives a {type(held).__name__}; give a PlanSpace")
    require(not free.choices, f"{name}: constrain changes its argument")
    require(held == technique.constrain(free), f"{name}: two calls of constrain give different spaces")
    require(held == technique.constrain(held), f"{name}: constrain twice is not constrain once")


def _applied(technique: Any, graph: Graph, name: str) -> Graph:
    before = str(graph)
    first, second = technique.apply(graph), technique.apply(graph)
    require(isinstance(first, Graph), f"{name}: apply gives a {type(first).__name__}; give a Graph")
    require(first.digest == second.digest, f"{name}: two calls of apply give {first.digest} and {second.digest}")
    require(str(graph) == before, f"{name}: apply changes its argument")
    try:
        return verify(first)
    except InvalidGraph as error:
        raise ContractBroken(f"{name}: {error}") from None


def _changed_weights(before: Graph, after: Graph) -> dict[str, tuple[Tensor, int]]:
    """The weights, as applied, whose number format changed, and the elements that one output of each sums over."""
    formats = {tensor.name: tensor.dtype for block in before.blocks for tensor in block.tensors_of("weight")}
    changed = {}
    for block in after.blocks:
        for op in block.ops:
            if op.kind not in ("matmul", "grouped_matmul") or block.tensors[op.reads[1]].role != "weight":
                continue
            weight = block.tensors[op.reads[1]]
            if formats.get(weight.name, weight.dtype) != weight.dtype and weight.num_elements <= _MOST_ELEMENTS:
                given, made = block.tensors[op.reads[0]].axes, block.tensors[op.writes[0]].axes
                summed = [extent for axis, extent in weight.axes.items() if axis in given and axis not in made]
                changed[weight.name] = weight, prod(summed)
    return changed


def _check_emulation(technique: Any, weights: Mapping[str, tuple[Tensor, int]], name: str) -> None:
    """Made arrays have one row per output, as stored linear layers do."""
    random = np.random.default_rng(0)
    arrays = {
        key: random.standard_normal((tensor.num_elements // summed, summed), dtype=np.float32)
        for key, (tensor, summed) in weights.items()
    }
    copies = {key: array.copy() for key, array in arrays.items()}
    first, second = technique.emulate(arrays), technique.emulate(arrays)
    for key, array in arrays.items():
        require(np.array_equal(array, copies[key]), f"{name}: emulate changes its argument {key!r}")
        require(key in first and first[key].shape == array.shape, f"{name}: emulate loses {key!r} or its shape")
        require(np.array_equal(first[key], second[key]), f"{name}: two calls of emulate give different {key!r}")
        if callable(getattr(technique, "pack", None)):
            stored, priced = technique.pack(key, array).num_bytes, weights[key][0].num_bytes
            require(stored == priced, f"{name}: {key!r} takes {stored} bytes, but apply prices {priced}")
