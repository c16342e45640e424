"""Random numbers for a whole graph: its weights, what is fed into it, and the gradient that backward starts from."""

from dataclasses import dataclass

import numpy as np

from aisys.frozen import FrozenMap
from aisys.ir import Block, Graph, Tensor, gradient_name
from aisys.testing.execution.call import Array


@dataclass(frozen=True, eq=False, kw_only=True)
class Numbers:
    """weights: by `weight_key`. given: by `layer_key`: indices, caches, dropout masks, and the gradient of the last
    layer's outputs.
    """

    weights: FrozenMap[str, Array]
    given: FrozenMap[str, Array]


def layer_key(layer: int, name: str) -> str:
    """The key of a tensor of one layer."""
    return f"{layer}:{name}"


def weight_key(graph: Graph, layer: int, name: str) -> str:
    """The key of a weight: shared weights have one for all layers."""
    return name if name in graph.shared else layer_key(layer, name)


def draw(graph: Graph, seed: int = 0) -> Numbers:
    """Numbers for every tensor that the ops of `graph` do not write themselves."""
    rng = np.random.default_rng(seed)
    weights: dict[str, Array] = {}
    given: dict[str, Array] = {}
    layers = graph.layers
    for i, block in enumerate(layers):
        for tensor in block.tensors_of("weight"):
            key = weight_key(graph, i, tensor.name)
            if key not in weights:
                weights[key] = rng.normal(0.0, 0.5, _shape(tensor))
        given |= {layer_key(i, name): value for name, value in _inputs(block, rng, is_first=i == 0).items()}
    last = len(layers) - 1
    for name in layers[-1].outputs:
        given[layer_key(last, gradient_name(name))] = rng.normal(size=_shape(layers[-1].tensors[name]))
    return Numbers(weights=FrozenMap(weights), given=FrozenMap(given))


def _inputs(block: Block, rng: np.random.Generator, *, is_first: bool) -> dict[str, Array]:
    """Indices within the table that they select from, caches, masks of dropout, and the first layer's activations."""
    written = {name for op in block.ops for name in op.writes}
    out: dict[str, Array] = {}
    for op in block.ops:
        if op.kind == "embedding" and op.phase == "forward":
            index, table = (block.tensors[name] for name in op.reads[:2])
            out[index.name] = _integers(rng, index, next(iter(table.axes.values())))
        if op.kind == "cross_entropy" and op.phase == "forward":
            out[op.reads[1]] = _integers(rng, block.tensors[op.reads[1]], op.space["vocab"])
        if op.kind == "dropout" and op.phase == "forward":
            out[op.writes[1]] = _mask(rng, block.tensors[op.writes[1]], float(op.options.get("rate", 0.0)))
        if op.kind == "attention" and op.phase == "forward" and op.options.get("dropout"):
            axes = ("batch", "head", "token", "key")
            scores = Tensor(attention_mask(op.name), FrozenMap({axis: op.space[axis] for axis in axes}))
            out[scores.name] = _mask(rng, scores, float(op.options["dropout"]))
    for tensor in block.tensors.values():
        is_given = tensor.role == "kv_cache" or (is_first and tensor.name in block.inputs and tensor.role != "index")
        if is_given and tensor.name not in written:
            out[tensor.name] = rng.normal(size=_shape(tensor))
    return out


def attention_mask(op: str) -> str:
    """The name under which the dropout mask of a fused attention is given; unfused attention writes it."""
    return f"{op}.mask"


def _mask(rng: np.random.Generator, tensor: Tensor, rate: float) -> Array:
    return (rng.random(_shape(tensor)) >= rate).astype(np.float64)


def _integers(rng: np.random.Generator, tensor: Tensor, high: int) -> Array:
    return rng.integers(0, high, _shape(tensor)).astype(np.float64)


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.axes.values())
