"""One op about to run on arrays with named axes: what it reads, and where its device stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aisys.ir import Op, Tensor

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
ROUTED = ("batch", "token", "topk")
"""Axes of what says which expert a row goes to."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Where:
    """What one device holds of the axes that are cut.

    positions: of its tokens in the whole sequence, which has num_tokens. first_vocab, first_expert: the first index of
    its share. adds_bias: whether it adds the bias of a matmul whose result is summed over devices (one of them does).
    """

    positions: Ints
    num_tokens: int
    first_vocab: int = 0
    first_expert: int = 0
    adds_bias: bool = True


@dataclass(frozen=True, eq=False, kw_only=True)
class Call:
    """`values`: arrays of op.reads, axes as in `tensors`, extents local. routing: expert of every row, axes ROUTED.

    mask: what a dropout inside the op keeps, 0 or 1. log_sums: of the rows of a cross entropy, where its forward kept
    them.
    """

    op: Op
    tensors: Mapping[str, Tensor]
    values: tuple[Array, ...]
    where: Where
    routing: Ints | None = None
    mask: Array | None = None
    log_sums: Array | None = None

    def axes(self, name: str) -> tuple[str, ...]:
        """The axes of a tensor, outermost first."""
        return tuple(self.tensors[name].axes)

    @property
    def is_backward(self) -> bool:
        """Whether the op is the derivative of one of its kind."""
        options = self.op.options
        return str(options.get("function", "")).endswith("_backward") or bool(options.get("is_backward"))

    @property
    def function(self) -> str:
        """The function that a streaming op applies, or whose derivative it takes."""
        options = self.op.options
        return str(options.get("derivative_of", options.get("function", "")))

    def chosen(self, num_experts: int) -> Array:
        """1 where a row goes to one of this device's experts, array (*ROUTED, num_experts)."""
        assert self.routing is not None, f"{self.op.name} has no routing"
        local = self.routing - self.where.first_expert
        return np.asarray(local[..., None] == np.arange(num_experts), np.float64)


def onto(array: Array, axes: Sequence[str], target: Sequence[str]) -> Array:
    """`array` with its axes in the order of `target`, and extent 1 where it lacks one, so that it broadcasts.

    An axis that `target` lacks must have extent 1.
    """
    left = [axis for axis in axes if axis in target]
    squeezed = array.squeeze(tuple(i for i, axis in enumerate(axes) if axis not in target))
    moved = squeezed.transpose([left.index(axis) for axis in target if axis in left])
    shape = iter(moved.shape)
    return moved.reshape([next(shape) if axis in left else 1 for axis in target])


def summed(array: Array, axes: Sequence[str], target: Sequence[str]) -> Array:
    """`array` summed over the axes that `target` lacks, in the order of `target`: what undoes a broadcast."""
    gone = tuple(i for i, axis in enumerate(axes) if axis not in target)
    return onto(array.sum(axis=gone), [axis for axis in axes if axis in target], target)
