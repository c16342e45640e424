"""The number formats that a model is served in: weights, activations and the key-value cache."""

from dataclasses import dataclass, replace

from aisys.errors import CannotApply
from aisys.frozen import FrozenMap
from aisys.ir import Block, DType, Graph, Op, Option, Tensor, dtype, verify
from aisys.plan.space import PlanSpace

_ARITHMETIC = ("fp8", "fp8_block", "int8", "nvfp4")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingFormat:
    """Store the weights of layer matmuls as `weights`, feed them `activations`, keep keys and values as `kv_cache`.

    "" leaves a format as it is. Where activations stay in 16 bits the matmul multiplies in 16 bits and only the
    weight's bytes shrink; else both operands are multiplied in the activations' format, and the kernel
    before it stores its result in that format (a view of it here: engines fuse the cast).
    Embedding, head and the router of experts stay as they are. Source: Frantar et al. 2023 (weight-only), Xiao et al.
    2023 (both operands), DeepSeek-V3 report 2024, section 3.3.1 (what stays).
    Raises CannotApply where the activations' format has no arithmetic.
    """

    weights: str = ""
    activations: str = ""
    kv_cache: str = ""

    def apply(self, graph: Graph) -> Graph:
        """The same ops over tensors in the chosen formats."""
        if self.activations and self.activations not in _ARITHMETIC:
            raise CannotApply(f"serving_format: activations={self.activations!r}; use one of {', '.join(_ARITHMETIC)}")
        inner = {s.block for s in graph.segments[1:-1]}
        return verify(graph.map_blocks({b: self._change(b) if b in inner else b for b in graph.blocks}))

    def constrain(self, space: PlanSpace) -> PlanSpace:
        """Plans whose matmuls multiply in the activations' format."""
        return space.narrow(precision=(self.activations,)) if self.activations else space

    def _change(self, block: Block) -> Block:
        tensors = dict(block.tensors)
        for op in block.ops:
            if self.weights and _is_quantized(op, block):
                weight = tensors[op.reads[1]]
                tensors[weight.name] = replace(weight, dtype=dtype(self.weights))
        if self.kv_cache:
            kept = dtype(self.kv_cache)
            tensors = {n: _stored(t, kept) for n, t in tensors.items()}
        changed = replace(block, tensors=FrozenMap(tensors))
        return self._multiply_low(changed) if self.activations else changed

    def _multiply_low(self, block: Block) -> Block:
        """Matmuls with a weight read and multiply in the activations' format."""
        ops: list[Op] = []
        tensors = dict(block.tensors)
        for op in block.ops:
            if not _is_quantized(op, block):
                ops.append(op)
                continue
            source, copy = op.reads[0], f"{op.reads[0]}.{self.activations}"
            if copy not in tensors:
                tensors[copy] = replace(tensors[source], name=copy, dtype=dtype(self.activations))
                space = tensors[source].axes
                ops.append(Op(name=f"{copy}.view", kind="view", space=space, reads=(source,), writes=(copy,)))
            options: FrozenMap[str, Option] = FrozenMap({**op.options, "math": self.activations})
            ops.append(replace(op, reads=(copy, *op.reads[1:]), options=options))
        return replace(block, ops=tuple(ops), tensors=FrozenMap(tensors))


def _is_quantized(op: Op, block: Block) -> bool:
    """A matmul with a weight, but not the one that scores experts."""
    if op.kind not in ("matmul", "grouped_matmul") or block.tensors[op.reads[1]].role != "weight":
        return False
    return op.kind == "grouped_matmul" or "expert" not in op.space


def _stored(tensor: Tensor, kept: DType) -> Tensor:
    return replace(tensor, dtype=kept) if tensor.role == "kv_cache" else tensor
