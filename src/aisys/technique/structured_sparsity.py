"""Two of every four weights, chosen by magnitude: priced on 2:4 tensor cores, and really pruned."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.errors import CannotApply
from aisys.frozen import FrozenMap
from aisys.ir import Block, Graph, Op, verify
from aisys.ir.dtype import TWO_OF_FOUR, dtype

GROUP, KEPT = 4, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class StructuredSparsity:
    """Keep the two largest of every four weights along the reduction axis; matmuls in fp16 or bf16.

    keep: patterns of tensor names that stay dense; a weight that anything but a matmul reads stays too. A device
    multiplies at up to twice its dense peak, while the other operand still comes whole.
    Source: Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks". Raises CannotApply where 4 does not divide.
    """

    keep: tuple[str, ...] = ("*lm_head*", "*embedding*")

    def apply(self, graph: Graph) -> Graph:
        """The same ops over weights of half the values and their places."""
        if any(op.phase != "forward" for block in graph.blocks for op in block.ops):
            raise CannotApply(f"structured_sparsity: {graph.name!r} trains; which weights are kept would change")
        changed = {block: self._change(block) for block in graph.blocks}
        if changed == {block: block for block in graph.blocks}:
            raise CannotApply(
                f"structured_sparsity: {graph.name!r} has no 16-bit matmul weight outside keep={self.keep}"
            )
        return verify(graph.map_blocks(changed))

    def emulate(self, model: Any) -> Any:
        """Arrays by name, the reduction axis last, with the two smallest of every four set to zero."""
        if not isinstance(model, Mapping):
            raise CannotApply(f"structured_sparsity: {type(model).__name__} is no mapping of arrays by name")
        return {name: array if self._is_kept(name) else self.prune(name, array) for name, array in model.items()}

    def prune(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """One weight with two of every four left; of equal magnitudes the earlier stays."""
        _check_divides(name, "last", array.shape[-1])
        groups = np.array(array).reshape(-1, GROUP)
        order = np.argsort(-np.abs(groups), axis=1, kind="stable")
        np.put_along_axis(groups, order[:, KEPT:], 0, axis=1)
        return groups.reshape(array.shape)

    def _is_kept(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.keep)

    def _change(self, block: Block) -> Block:
        found = {op: block.tensors[op.reads[1]] for op in block.ops if self._fits(op, block)}
        if not found:
            return block
        for op, weight in found.items():
            other, out = block.tensors[op.reads[0]].axes, block.tensors[op.writes[0]].axes
            reduced = [axis for axis in weight.axes if axis in other and axis not in out]
            _check_divides(weight.name, "*".join(reduced), int(np.prod([weight.axes[axis] for axis in reduced])))
        stored = {w.name: replace(w, dtype=dtype(w.dtype.name + TWO_OF_FOUR)) for w in found.values()}
        ops = tuple(
            replace(op, options=FrozenMap({**op.options, "math": found[op].dtype.name + TWO_OF_FOUR}))
            if op in found else op
            for op in block.ops
        )  # fmt: skip
        return replace(block.with_tensors(stored), ops=ops)

    def _fits(self, op: Op, block: Block) -> bool:
        if op.kind != "matmul":
            return False
        weight = block.tensors[op.reads[1]]
        readers = [other for other in block.ops if weight.name in other.reads]
        is_alone = all(other.kind == "matmul" and other.reads[1] == weight.name for other in readers)
        return (
            weight.role == "weight" and weight.dtype.name in ("fp16", "bf16") and is_alone
            and not self._is_kept(weight.name)
        )  # fmt: skip


def _check_divides(name: str, axis: str, extent: int) -> None:
    if extent % GROUP:
        raise CannotApply(
            f"structured_sparsity: axis {axis!r} of {name!r} has extent {extent}, not a multiple of {GROUP}; "
            "name it in keep"
        )
