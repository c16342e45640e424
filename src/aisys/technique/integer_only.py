"""Networks in int8 throughout, as integer hardware runs them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from aisys.errors import CannotApply
from aisys.frozen import FrozenMap
from aisys.ir import DTYPES, Block, Graph, Op, Tensor, dtype, verify
from aisys.plan.space import PlanSpace

FORMAT, SUMS = "int8", "int32"
LARGEST = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerOnly:
    """Every weight and feature map in int8, with one scale per output channel of weights; biases and norms in int32.

    Products add up in int32, and their results become int8 again where they leave (requantization). What it does to
    accuracy is not predicted. Source: Jacob et al. 2018 (integer-arithmetic-only inference).
    Raises CannotApply for a graph that trains, and for ops without an integer form (attention, softmax).
    """

    def apply(self, graph: Graph) -> Graph:
        """The same ops over integer tensors."""
        for op in (op for block in graph.blocks for op in block.ops):
            if op.phase != "forward":
                raise CannotApply(f"integer_only: {graph.name!r} trains; apply it to the forward graph")
            if op.kind in _FLOATING:
                raise CannotApply(
                    f"integer_only: {op.kind} {op.name!r} of {graph.name!r} is computed in floating point; "
                    "serving_format:weights=int8,activations=int8 leaves it so"
                )
        return verify(graph.map_blocks({block: _changed(block) for block in graph.blocks}))

    def constrain(self, space: PlanSpace) -> PlanSpace:
        """Only plans in int8."""
        return space.narrow(precision=(FORMAT,))

    def emulate(self, model: Any) -> Any:
        """Arrays by name, output channels first, rounded to 255 levels per channel."""
        if not isinstance(model, Mapping):
            raise CannotApply(f"integer_only: {type(model).__name__} is no mapping of arrays by name")
        return {name: _rounded(np.asarray(array)) for name, array in model.items()}


_FLOATING = ("attention", "softmax", "rope", "cross_entropy", "grouped_matmul")


def _rounded(array: Any) -> Any:
    rows = array.reshape(len(array), -1)
    step = np.abs(rows).max(axis=1, keepdims=True) / LARGEST
    step[step == 0] = 1.0
    return (np.rint(rows / step) * step).astype(array.dtype).reshape(array.shape)


def _changed(block: Block) -> Block:
    wide = {name for op in block.ops for name in _meeting_sums(op)}

    def stored(tensor: Tensor) -> Tensor:
        if not tensor.dtype.is_float:
            return tensor
        return replace(tensor, dtype=dtype(SUMS) if tensor.name in wide else DTYPES[FORMAT])

    ops = tuple(
        replace(op, options=FrozenMap({k: v for k, v in op.options.items() if k != "math"})) for op in block.ops
    )
    return replace(block, ops=ops, tensors=FrozenMap({name: stored(t) for name, t in block.tensors.items()}))


def _meeting_sums(op: Op) -> tuple[str, ...]:
    """Weights that are added to sums or multiply them: biases, and scales and shifts of norms."""
    if op.kind in ("conv", "matmul"):
        return op.reads[2:]
    return op.reads[1:] if op.kind == "norm" else ()
