"""The number format of weights, activations and matmuls while training."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby

from aisys.errors import CannotApply
from aisys.frozen import FrozenMap
from aisys.ir import DTYPES, Block, Graph, Op, Option, ProgramPhase, Tensor, dtype, kept_for_backward, verify
from aisys.plan.space import PlanSpace

SIXTEEN_BIT = ("bf16", "fp16")
COPY, TRANSPOSED = ".fp8", ".fp8_transposed"
"""Endings of the names of fp8 copies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberFormat:
    """Train in `precision`: bf16 or fp16 throughout, or fp8 matmuls between bf16 tensors.

    fp8: matmuls with a weight read fp8 copies of both operands, in forward and backward. A norm whose result only
    matmuls read writes the copy itself; other activations and gradients take a cast; weight gradients read transposed
    copies, which cost another pass; weights are cast and transposed once per step. The copy of an activation is what
    backward saves and what tensor parallelism gathers. Attention, the router of experts, embedding and head stay in
    bf16. Source: Micikevicius et al. 2022 (FP8 formats for deep learning); NVIDIA Transformer Engine 1.x.
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
    return _Fp8(block).run()


class _Fp8:
    """Rewrites one block: products with a weight read fp8 copies, which casts write where nothing can write them."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.tensors: dict[str, Tensor] = dict(block.tensors)
        self.weight_casts: list[Op] = []
        self.products = [op for op in block.ops if _is_fp8_product(op, block)]
        self.direct = {n for n in _written_by_norms(block) if self._only_products_read(n)}

    def run(self) -> Block:
        """The block in fp8."""
        ops: list[Op] = []
        for _, group in groupby(self.block.ops, key=lambda op: (op.phase, op.options.get("fuse", op.name))):
            ops += self._rewrite(list(group))
        block = replace(self.block, ops=(*self.weight_casts, *ops), tensors=FrozenMap(self.tensors))
        return replace(block, saved=kept_for_backward(block) if block.saved else ())

    def _rewrite(self, group: list[Op]) -> list[Op]:
        """Ops of one kernel, after the casts that any of them needs."""
        casts: list[Op] = []
        changed: list[Op] = []
        for op in group:
            if op not in self.products:
                changed.append(self._in_fp8_directly(op))
                continue
            is_transposed = op.phase == "weight_gradient"
            reads = [self._operand(name, op, casts, is_transposed=is_transposed) for name in op.reads[:2]]
            options: FrozenMap[str, Option] = FrozenMap({**op.options, "math": "fp8"})
            changed.append(replace(op, reads=(*reads, *op.reads[2:]), options=options))
        return [*casts, *changed]

    def _in_fp8_directly(self, op: Op) -> Op:
        writes = tuple(n + COPY if n in self.direct and op.kind == "norm" else n for n in op.writes)
        for old, new in zip(op.writes, writes, strict=True):
            if new != old:
                self._declare(old, new)
        return replace(op, writes=writes)

    def _operand(self, name: str, op: Op, casts: list[Op], *, is_transposed: bool) -> str:
        copy = name + COPY
        if copy not in self.tensors:
            self._declare(name, copy)
            if self.block.tensors[name].role == "weight":
                self._declare(name, name + TRANSPOSED)
                self.weight_casts.append(_cast(name, (copy, name + TRANSPOSED), self.tensors, "optimizer"))
            else:
                casts.append(_cast(name, (copy,), self.tensors, op.phase))
        if not is_transposed:
            return copy
        if name + TRANSPOSED not in self.tensors:
            self._declare(name, name + TRANSPOSED)
            casts.append(_cast(copy, (name + TRANSPOSED,), self.tensors, op.phase))
        return name + TRANSPOSED

    def _declare(self, name: str, copy: str) -> None:
        self.tensors[copy] = replace(self.block.tensors[name], name=copy, dtype=DTYPES["fp8"], role="activation")

    def _only_products_read(self, name: str) -> bool:
        readers = [op for op in self.block.ops if name in op.reads]
        return bool(readers) and all(op in self.products for op in readers) and name not in self.block.outputs


def _cast(name: str, writes: tuple[str, ...], tensors: Mapping[str, Tensor], phase: ProgramPhase) -> Op:
    space = tensors[name].axes
    return Op(name=f"{writes[-1]}.cast", kind="cast", space=space, reads=(name,), writes=writes, phase=phase)


def _is_fp8_product(op: Op, block: Block) -> bool:
    """A matmul with a weight, but not the one that scores experts."""
    if op.kind not in ("matmul", "grouped_matmul"):
        return False
    roles = [block.tensors[n].role for n in (*op.reads[:2], *op.writes)]
    return ("weight" in roles or "gradient" in roles) and not (op.kind == "matmul" and "expert" in op.space)


def _written_by_norms(block: Block) -> set[str]:
    return {n for op in block.ops if op.kind == "norm" and op.phase == "forward" for n in op.writes}
