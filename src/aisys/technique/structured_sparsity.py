"""Some of every few weights, chosen by magnitude: priced where hardware leaves the others out, and really pruned."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.errors import CannotApply
from aisys.frozen import FrozenMap
from aisys.ir import Block, Graph, Op, Tensor, verify
from aisys.ir.density import NOfM
from aisys.ir.dtype import dtype, split_density

FAMILIES = ("fp16", "bf16", "int8", "int4")
"""Formats of weights that are pruned. Source: Mishra et al. 2021; Frantar et al. 2024 (sparse Marlin) for int4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StructuredSparsity:
    """Keep the `kept` largest of every `of` weights along the sum of a matmul or convolution.

    keep: patterns of tensor names that stay dense; a weight that anything else reads stays too. 2:4 tensor cores
    multiply at up to twice their dense peak, a weight-stationary systolic array folds a shorter k, a loop nest stores
    and walks what its machine file says. The other operand still comes whole.
    Source: Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks". Raises CannotApply where `of` does not
    divide.
    """

    keep: tuple[str, ...] = ("*lm_head*", "*embedding*")
    kept: int = 2
    of: int = 4

    def __post_init__(self) -> None:
        NOfM(self.kept, self.of)

    def apply(self, graph: Graph) -> Graph:
        """The same ops over weights of `kept` of `of` values and their places."""
        if any(op.phase != "forward" for block in graph.blocks for op in block.ops):
            raise CannotApply(f"structured_sparsity: {graph.name!r} trains; which weights are kept would change")
        changed = {block: self._change(block) for block in graph.blocks}
        if changed == {block: block for block in graph.blocks}:
            raise CannotApply(
                f"structured_sparsity: {graph.name!r} has no {', '.join(FAMILIES)} weight outside keep={self.keep}"
            )
        return verify(graph.map_blocks(changed))

    def emulate(self, model: Any) -> Any:
        """Arrays by name, the axis of the sum last, with all but the largest of every `of` set to zero."""
        if not isinstance(model, Mapping):
            raise CannotApply(f"structured_sparsity: {type(model).__name__} is no mapping of arrays by name")
        return {name: array if self._is_kept(name) else self.prune(name, array) for name, array in model.items()}

    def prune(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """One weight with `kept` of every `of` left; of equal magnitudes the earlier stays."""
        self._check_divides(name, "last", array.shape[-1])
        groups = np.array(array).reshape(-1, self.of)
        order = np.argsort(-np.abs(groups), axis=1, kind="stable")
        np.put_along_axis(groups, order[:, self.kept :], 0, axis=1)
        return groups.reshape(array.shape)

    def _is_kept(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.keep)

    def _change(self, block: Block) -> Block:
        found = {op: block.tensors[op.reads[1]] for op in block.ops if self._fits(op, block)}
        if not found:
            return block
        for op, weight in found.items():
            summed = _summed(op, weight, block)
            self._check_divides(weight.name, "*".join(summed), int(np.prod([weight.axes[axis] for axis in summed])))
        ending = f"_{self.kept}of{self.of}"
        stored = {w.name: replace(w, dtype=dtype(w.dtype.name + ending)) for w in found.values()}

        def sparse(op: Op) -> Op:
            math = str(op.options.get("math", block.tensors[op.reads[0]].dtype.name))
            return replace(op, options=FrozenMap({**op.options, "math": math + ending}))

        return replace(block.with_tensors(stored), ops=tuple(sparse(op) if op in found else op for op in block.ops))

    def _fits(self, op: Op, block: Block) -> bool:
        if op.kind not in ("matmul", "conv"):
            return False
        weight = block.tensors[op.reads[1]]
        readers = [other for other in block.ops if weight.name in other.reads]
        is_alone = all(other.kind == op.kind and other.reads[1] == weight.name for other in readers)
        is_dense = not split_density(weight.dtype.name)[1]
        return (
            weight.role == "weight" and weight.dtype.family in FAMILIES and is_dense and is_alone
            and not self._is_kept(weight.name)
        )  # fmt: skip

    def _check_divides(self, name: str, axis: str, extent: int) -> None:
        if extent % self.of:
            raise CannotApply(
                f"structured_sparsity: axis {axis!r} of {name!r} has extent {extent}, not a multiple of {self.of}; "
                "name it in keep"
            )


def _summed(op: Op, weight: Tensor, block: Block) -> list[str]:
    """Axes of the weight that the op sums over."""
    if op.kind == "conv":
        return ["in_channel", "kernel_height", "kernel_width"]
    other, out = block.tensors[op.reads[0]].axes, block.tensors[op.writes[0]].axes
    return [axis for axis in weight.axes if axis in other and axis not in out]
