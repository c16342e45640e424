"""From one block and its parallel degrees to what one device runs: local ops, and the collectives between them.

Nothing here knows a model. Axes are spread over mesh axes; an op that contracts a spread axis leaves a partial sum;
the next reader decides which collective turns it into what it needs.
"""

from dataclasses import dataclass, replace
from math import prod

from aisys.errors import CannotApply
from aisys.frozen import FrozenMap
from aisys.ir import Block, Op, Option, Tensor
from aisys.plan.lives import Lives

TENSOR_AXES = ("head", "kv_head", "ffn", "vocab", "expert_ffn")
"""Axes that tensor parallelism spreads (Shoeybi et al. 2019)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Degrees:
    """How far each mesh axis spreads one block. `micro_batch` replaces the extent of axis batch."""

    tensor: int = 1
    sequence_parallel: bool = False
    context: int = 1
    expert: int = 1
    micro_batch: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One collective: `num_bytes` is the whole buffer (the gathered or the reduced one), as nccl-tests counts it.

    under: kind of op that the transfer may run under: attention while keys and values pass around a ring, matmul while
    the gradient of a weight waits for neither side ("": nothing runs meanwhile).
    """

    kind: str
    mesh_axis: str
    num_bytes: float
    phase: str
    tensor: str
    under: str = ""


Step = Op | Transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardedBlock:
    """What one device does for one repetition of a block.

    steps: local ops (their space is local) and transfers, in order. saved_bytes: activations kept per microbatch.
    boundary_bytes: the output handed to the next block. elements: weights held on this device, by group: dense, expert
    or shared. state_bytes: (role, group) to bytes on this device, before any ZeRO sharding.
    """

    steps: tuple[Step, ...]
    saved_bytes: float
    boundary_bytes: float
    working_bytes: float
    elements: FrozenMap[str, int]
    state_bytes: FrozenMap[tuple[str, str], float]


def shard(block: Block, degrees: Degrees, shared: frozenset[str] = frozenset()) -> ShardedBlock:
    """One device's share of `block`; weights named in `shared`, and their state, form a group of their own.

    Raises CannotApply where an axis does not split evenly, with the degrees that would.
    """
    return _Sharder(block, degrees, shared).run()


def local_extents(block: Block, degrees: Degrees) -> dict[str, int]:
    """Axis to the extent on one device, outside the sequence-parallel regions."""
    extents: dict[str, int] = {}
    for op in block.ops:
        extents.update(op.space)
    for tensor in block.tensors.values():
        extents.update(tensor.axes)
    out = dict(extents)
    for axis in TENSOR_AXES:
        if axis in out:
            out[axis] = _split(block, axis, out[axis], degrees.tensor)
    if "expert" in out:
        out["expert"] = _split(block, "expert", out["expert"], degrees.expert, "expert parallelism")
    if "token" in out:
        spread = degrees.context * (degrees.tensor if degrees.sequence_parallel else 1)
        _split(block, "token", out["token"], spread, "context and sequence parallelism")
        out["token"] //= degrees.context
    if "batch" in out:
        out["batch"] = degrees.micro_batch
    return out


def _split(block: Block, axis: str, extent: int, ways: int, what: str = "tensor parallelism") -> int:
    if extent % ways == 0:
        return extent // ways
    if axis == "kv_head" and ways % extent == 0:
        return 1
    if axis in ("vocab", "expert_ffn") or (axis == "kv_head" and ways > extent):
        return -(-extent // ways)
    fits = [d for d in range(1, min(extent, 4096) + 1) if extent % d == 0]
    near = sorted(sorted(fits, key=lambda d: abs(d - ways))[:4])
    raise CannotApply(
        f"{what} of {ways} does not divide axis {axis!r} of block {block.name!r} (extent {extent}); "
        f"degrees that do: {', '.join(map(str, near))}"
    )


class _Sharder:
    """One walk over a block's ops, tracking in which layout every tensor stands."""

    def __init__(self, block: Block, degrees: Degrees, shared: frozenset[str]) -> None:
        self.block, self.degrees, self.shared = block, degrees, shared
        self.extents = local_extents(block, degrees)
        self.layout: dict[str, str] = {}  # whole | tokens | partial, over the tensor mesh axis
        self.steps: list[Step] = []
        self.local_bytes: dict[str, float] = {}
        self.lives = Lives()

    def run(self) -> ShardedBlock:
        self._given(self.block.inputs)
        phase = ""
        for op in self.block.ops:
            stage = "backward" if op.phase.endswith("gradient") else op.phase
            if stage != phase and phase:
                self._forget_gathers()
            if stage == "backward" != phase:
                self._given(tuple(f"d.{n}" for n in self.block.outputs if f"d.{n}" in self.block.tensors))
            phase = stage
            self.lives.tick(op.reads)
            self._visit(op)
        return self._result()

    def _given(self, names: tuple[str, ...]) -> None:
        """Tensors that the neighbours hand to this block."""
        in_tokens = self.degrees.sequence_parallel and self.degrees.tensor > 1
        for name in names:
            self.layout[name] = "tokens" if in_tokens else "whole"
            self.lives.write(name, self._bytes_of(self.block.tensors[name], self._token_extents(in_tokens)))

    def _visit(self, op: Op) -> None:
        if op.phase == "optimizer":
            self.steps.append(self._local(op, self.extents))
            return
        spread = self._spread_axes(op)
        sums_later = self._sums_later(op)
        is_whole = bool(spread) or sums_later or (op.kind == "cast" and self.layout.get(op.reads[0]) == "both")
        in_tokens = self.degrees.sequence_parallel and self.degrees.tensor > 1 and not is_whole
        for name in () if sums_later else op.reads:
            self._arrive(name, op, wants="tokens" if in_tokens else "whole", sharded=bool(spread))
        if op.kind in ("dispatch", "combine") and self.degrees.expert > 1:
            self._exchange_experts(op)
        extents = self._token_extents(in_tokens)
        local = self._local(op, extents)
        if op.kind == "attention" and self.degrees.context > 1:
            local = self._context_attention(local)
        self.steps.append(local)
        for name in op.writes:
            self._leave(name, op, spread, in_tokens, extents)
            if sums_later:
                self.layout[name] = "partial"

    def _sums_later(self, op: Op) -> bool:
        """Whether `op` is linear and all that it adds up is partial, so that one sum after it serves them all."""
        if op.kind == "combine" and self.degrees.expert == 1:
            return self.layout.get(op.reads[0]) == "partial"
        return op.kind == "add" and all(self.layout.get(name) == "partial" for name in op.reads)

    def _spread_axes(self, op: Op) -> set[str]:
        if self.degrees.tensor == 1:
            return set()
        axes = {axis for name in (*op.reads, *op.writes) for axis in self.block.tensors[name].axes} | set(op.space)
        return axes & set(TENSOR_AXES)

    def _arrive(self, name: str, op: Op, *, wants: str, sharded: bool) -> None:
        tensor = self.block.tensors[name]
        if tensor.role in ("weight", "optimizer_state", "kv_cache", "index") or name not in self.layout:
            return
        have = self.layout[name]
        if set(tensor.axes) & set(TENSOR_AXES) and have != "partial":
            return
        if have == "partial":
            kind = "reduce_scatter" if wants == "tokens" else "all_reduce"
            self._transfer(kind, "tensor", name, op, under="matmul" if op.phase.endswith("gradient") else "")
            self.layout[name] = wants
        elif have == "tokens" and wants == "whole" and sharded:
            self._transfer("all_gather", "tensor", name, op, under="matmul" if op.phase == "weight_gradient" else "")
            self.layout[name] = "both"
            self.lives.write(f"{name} gathered", self._bytes_of(tensor, self.extents), beside=name)

    def _forget_gathers(self) -> None:
        for name, layout in self.layout.items():
            if layout == "both":
                self.layout[name] = "tokens"
                self.lives.forget(name)

    def _transfer(self, kind: str, mesh_axis: str, name: str, op: Op, *, under: str = "") -> None:
        num_bytes = self._bytes_of(self.block.tensors[name], self.extents)
        if mesh_axis == "context":
            num_bytes *= self.degrees.context
        self.steps.append(
            Transfer(kind=kind, mesh_axis=mesh_axis, num_bytes=num_bytes, phase=op.phase, tensor=name, under=under)
        )

    def _exchange_experts(self, op: Op) -> None:
        name = next(n for n in (*op.reads, *op.writes) if {"topk", "hidden"} <= set(self.block.tensors[n].axes))
        extents = self._token_extents(self.degrees.sequence_parallel and self.degrees.tensor > 1)
        num_bytes = self._bytes_of(self.block.tensors[name], extents)
        self.steps.append(
            Transfer(kind="all_to_all", mesh_axis="expert", num_bytes=num_bytes, phase=op.phase, tensor=name)
        )

    def _context_attention(self, op: Op) -> Op:
        """Zigzag context parallelism: every device holds an equal share of the causal work, so that a query sees half
        of all keys on average (Liu et al. 2023)."""
        for name in op.reads[1:3]:
            self._transfer("all_gather", "context", name, op, under="attention")
        if op.options.get("is_backward"):
            for name in op.writes[1:3]:
                self._transfer("reduce_scatter", "context", name, op, under="attention")
        if not op.options.get("is_causal", True):
            return op
        seen = op.space["key"] // 2
        options: FrozenMap[str, Option] = FrozenMap({**op.options, "is_causal": False})
        return replace(op, space=FrozenMap({**op.space, "key": max(1, seen)}), options=options)

    def _leave(self, name: str, op: Op, spread: set[str], in_tokens: bool, extents: dict[str, int]) -> None:
        tensor = self.block.tensors[name]
        if op.kind == "view":
            self.layout[name] = self.layout.get(op.reads[0], "whole")
            self.lives.alias(name, op.reads[0])
        elif tensor.role in ("weight", "gradient"):
            return
        else:
            contracted = _as_heads(spread) - _as_heads(set(tensor.axes))
            self.layout[name] = "partial" if contracted else "tokens" if in_tokens else "whole"
        self.local_bytes[name] = self._bytes_of(tensor, extents)
        if op.kind != "view" and name not in self.block.saved:
            self.lives.write(name, self.local_bytes[name])

    def _token_extents(self, in_tokens: bool) -> dict[str, int]:
        if not in_tokens or "token" not in self.extents:
            return self.extents
        return {**self.extents, "token": max(1, self.extents["token"] // self.degrees.tensor)}

    def _local(self, op: Op, extents: dict[str, int]) -> Op:
        return replace(op, space=FrozenMap({axis: extents[axis] for axis in op.space}))

    @staticmethod
    def _bytes_of(tensor: Tensor, extents: dict[str, int]) -> float:
        return prod(extents[axis] for axis in tensor.axes) * tensor.dtype.bytes_per_element

    def _result(self) -> ShardedBlock:
        in_tokens = self.degrees.sequence_parallel and self.degrees.tensor > 1
        edge = self._token_extents(in_tokens)
        of_edge = {n: self._bytes_of(self.block.tensors[n], edge) for n in (*self.block.inputs, *self.block.outputs)}
        sizes = {**of_edge, **self.local_bytes}
        once_per_step = (op for op in self.block.ops if op.phase == "optimizer")
        copies = {n for op in once_per_step for n in op.writes if self.block.tensors[n].role == "activation"}
        elements = dict.fromkeys(("dense", "expert", "shared"), 0)
        state: dict[tuple[str, str], float] = {}
        for tensor in self.block.tensors.values():
            group = self._group(tensor)
            if tensor.role == "weight":
                elements[group] += prod(self.extents[axis] for axis in tensor.axes)
            if tensor.role in ("weight", "gradient", "optimizer_state", "kv_cache"):
                key = (tensor.role, group)
                state[key] = state.get(key, 0.0) + self._bytes_of(tensor, self.extents)
            elif tensor.name in copies:
                state["weight", group] = state.get(("weight", group), 0.0) + self._bytes_of(tensor, self.extents)
        return ShardedBlock(
            steps=tuple(self.steps), saved_bytes=sum(sizes[n] for n in self.block.saved),
            boundary_bytes=sum(of_edge[n] for n in self.block.outputs if n in of_edge),
            working_bytes=self.lives.peak_bytes(set(self.block.saved)),
            elements=FrozenMap(elements), state_bytes=FrozenMap(state),
        )  # fmt: skip

    def _group(self, tensor: Tensor) -> str:
        """Which ranks hold `tensor`: those of its expert, those of its block, or those of every block that names it."""
        if any(tensor.name == name or tensor.name.endswith(f".{name}") for name in self.shared):
            return "shared"
        return "expert" if "expert" in tensor.axes else "dense"


def _as_heads(axes: set[str]) -> set[str]:
    """Key-value heads are groups of query heads: an op over both is spread over one axis, and contracts neither."""
    return {"head" if axis == "kv_head" else axis for axis in axes}
