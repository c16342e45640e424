"""The number format of weights, activations and matmuls while training."""

from dataclasses import dataclass, replace

from aisys.errors import CannotApply
from aisys.frozen import FrozenMap
from aisys.ir import DTYPES, Block, Graph, Op, Option, Tensor, dtype, verify
from aisys.plan.space import PlanSpace

SIXTEEN_BIT = ("bf16", "fp16")


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberFormat:
    """Train in `precision`: bf16 or fp16 throughout, or fp8 matmuls between bf16 tensors.

    fp8: matmuls with a weight read fp8 copies of both operands, in forward and backward; each copy is a cast that
    reads 16 bits and writes 8, once per use in a phase, and the copy of the activation is what backward saves.
    Attention, norms and communication stay in bf16. Source: Micikevicius et al. 2022 (FP8 formats for deep learning).
    Raises CannotApply for another format.
    """

    precision: str = "bf16"

    def apply(self, graph: Graph) -> Graph:
        """The graph with its 16-bit tensors in the chosen format, and casts before fp8 matmuls."""
        if self.precision not in (*SIXTEEN_BIT, "fp8"):
            raise CannotApply(f"number_format: {self.precision!r} is not a training format; use bf16, fp16 or fp8")
        base = "bf16" if self.precision == "fp8" else self.precision
        change = {b: _in_sixteen_bits(b, base) for b in graph.blocks}
        if self.precision == "fp8":
            inner = {s.block for s in graph.segments[1:-1]}
            change = {b: _with_fp8(c) if b in inner else c for b, c in change.items()}
        return verify(graph.map_blocks(change))

    def constrain(self, space: PlanSpace) -> PlanSpace:
        """Only plans in this format."""
        return space.narrow(precision=(self.precision,))


def _in_sixteen_bits(block: Block, base: str) -> Block:
    def changed(tensor: Tensor) -> Tensor:
        return replace(tensor, dtype=dtype(base)) if tensor.dtype.name in SIXTEEN_BIT else tensor

    return replace(block, tensors=FrozenMap({n: changed(t) for n, t in block.tensors.items()}))


def _with_fp8(block: Block) -> Block:
    ops: list[Op] = []
    tensors = dict(block.tensors)
    copies: set[str] = set()
    for op in block.ops:
        if op.kind not in ("matmul", "grouped_matmul") or not _has_weight(op, block):
            ops.append(op)
            continue
        for name in op.reads[:2]:
            if name not in copies:
                copies.add(name)
                ops.append(_cast(block.tensors[name], op))
                tensors[_copy(name)] = replace(tensors[name], name=_copy(name), dtype=DTYPES["fp8"], role="activation")
        options: FrozenMap[str, Option] = FrozenMap({**op.options, "math": "fp8"})
        ops.append(replace(op, reads=(*map(_copy, op.reads[:2]), *op.reads[2:]), options=options))
    saved = tuple(_copy(n) if n in copies and _only_products_read(n, block) else n for n in block.saved)
    return replace(block, ops=tuple(ops), tensors=FrozenMap(tensors), saved=saved)


def _copy(name: str) -> str:
    return f"{name}.fp8"


def _cast(tensor: Tensor, before: Op) -> Op:
    return Op(name=f"{tensor.name}.cast", kind="cast", space=tensor.axes, reads=(tensor.name,),
              writes=(_copy(tensor.name),), phase=before.phase)  # fmt: skip


def _has_weight(op: Op, block: Block) -> bool:
    names = (*op.reads[:2], *op.writes)
    return any(block.tensors[n].role in ("weight", "gradient") for n in names)


def _only_products_read(name: str, block: Block) -> bool:
    """Whether backward needs `name` for matmuls alone, so that its fp8 copy can stand for it."""
    readers = [op for op in block.ops if name in op.reads and op.phase.endswith("gradient")]
    return bool(readers) and all(op.kind in ("matmul", "grouped_matmul") for op in readers)
