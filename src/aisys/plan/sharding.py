"""From one block and its parallel degrees to what one device runs: local ops, and the collectives between them.

Nothing here knows a model. Axes are spread over mesh axes; an op that contracts a spread axis leaves a partial sum;
the next reader decides which collective turns it into what it needs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod

from aisys.errors import CannotApply
from aisys.frozen import FrozenMap
from aisys.ir import Block, Op, Option, ProgramPhase, Tensor, gradient_name
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

    A phase of "optimizer" means once per step. under: kind of op that the transfer may run under: attention while keys
    and values pass around a ring, matmul while the gradient of a weight waits for neither side ("": nothing runs
    meanwhile). neighbours: how many ranks in a row take part together (0: all of the mesh axis).
    """

    kind: str
    mesh_axis: str
    num_bytes: float
    phase: str
    tensor: str
    under: str = ""
    neighbours: int = 0


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


def spread_over_experts(block: Block) -> frozenset[str]:
    """The tensors of which each expert rank holds its own experts' part: what per-expert matmuls read or write, and
    what is made from it. A router scores every expert on every rank.
    """
    has_expert = {name for name, tensor in block.tensors.items() if "expert" in tensor.axes}
    found = {n for op in block.ops if op.kind == "grouped_matmul" for n in (*op.reads, *op.writes)} & has_expert
    while True:
        more = {n for op in block.ops if found & {*op.reads, *op.writes} for n in (*op.reads, *op.writes)} & has_expert
        if more <= found:
            return frozenset(found)
        found |= more


def local_extents(block: Block, degrees: Degrees) -> dict[str, int]:
    """Every axis that may be spread to its extent on one device, outside the sequence-parallel regions; of experts,
    those of one rank. Other axes stay as they are, and may differ from tensor to tensor, as sides of images do.
    """
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
    return {axis: out[axis] for axis in (*TENSOR_AXES, "expert", "token", "batch") if axis in out}


def _split(block: Block, axis: str, extent: int, ways: int, what: str = "tensor parallelism") -> int:
    if extent % ways == 0:
        return extent // ways
    if axis == "kv_head" and ways % extent == 0:
        return 1
    if axis in ("vocab", "expert_ffn"):
        return -(-extent // ways)
    fits = [d for d in range(1, min(extent, 4096) + 1) if extent % d == 0]
    near = sorted(sorted(fits, key=lambda d: abs(d - ways))[:4])
    raise CannotApply(
        f"{what} of {ways} does not divide axis {axis!r} of block {block.name!r} (extent {extent}); "
        f"degrees that do: {', '.join(map(str, near))}"
    )


ROW_STATISTICS = {"cross_entropy": 3}
"""How many numbers per row the ranks combine where an op reduces a spread axis and its result is no plain sum.
Source: Shoeybi et al. 2019 (Megatron-LM), vocab_parallel_cross_entropy: largest, label's logit, sum of exponentials."""


class _Sharder:
    """One walk over a block's ops, tracking in which layout every tensor stands over the tensor mesh axis.

    whole: every rank has it. tokens: each rank has a share of the tokens. both: a share, and for this pass the whole.
    partial: the sum over ranks is meant.
    """

    def __init__(self, block: Block, degrees: Degrees, shared: frozenset[str]) -> None:
        self.block, self.degrees, self.shared = block, degrees, shared
        self.extents = local_extents(block, degrees)
        self.experts = spread_over_experts(block)
        self.region = "tokens" if degrees.sequence_parallel and degrees.tensor > 1 else "whole"
        self.layout: dict[str, str] = {}
        self.at_experts: set[str] = set()
        self.num_sums: dict[str, int] = {}
        self.steps: list[Step] = []
        self.once: list[Transfer] = []
        self.local_bytes: dict[str, float] = {}
        self.lives = Lives()

    def run(self) -> ShardedBlock:
        indices = {t.name for t in self.block.tensors_of("index")}
        self._given(self.block.inputs, {n: "whole" if n in indices else self.region for n in self.block.inputs})
        stage = ""
        for op in self.block.ops:
            now = "backward" if op.phase.endswith("gradient") else op.phase
            if now != stage:
                self._end_stage(stage)
                self._begin_stage(now)
            stage = now
            self.lives.tick(op.reads)
            self._visit(op)
        self._end_stage(stage)
        return self._result()

    def _given(self, names: Iterable[str], layout: Mapping[str, str]) -> None:
        """Tensors that the neighbours hand to this block."""
        for name in names:
            self.layout[name] = layout[name]
            extents = self._token_extents(layout[name] == "tokens")
            self.lives.write(name, self._bytes_of(self.block.tensors[name], extents))

    def _begin_stage(self, stage: str) -> None:
        """A gradient comes in the layout in which its tensor went."""
        if stage == "backward":
            given = {gradient_name(name): self.layout.get(name, self.region) for name in self.block.outputs}
            self._given([name for name in given if name in self.block.tensors], given)

    def _end_stage(self, stage: str) -> None:
        """Results take the layout of the residual stream, gathered copies go, once-per-step transfers come last."""
        if stage == "forward":
            self._settle(self.block.outputs, "forward")
        if stage == "backward":
            self._settle([gradient_name(n) for n in self.block.inputs], "input_gradient")
            self.steps += self.once
        for name in [name for name, layout in self.layout.items() if layout == "both"]:
            self.layout[name] = "tokens"
            self.lives.forget(name)

    def _settle(self, names: Iterable[str], phase: ProgramPhase) -> None:
        for name in names:
            if self.layout.get(name) == "partial":
                self._sum(name, phase, wants="whole" if name in self.num_sums else self.region)

    def _visit(self, op: Op) -> None:
        if op.phase == "optimizer":
            self.steps.append(self._local(op, self.extents))
            return
        spread = self._spread_axes(op)
        summed_late = self._summed_late(op)
        is_gathered = bool(spread or summed_late) or self._copies_rows(op)
        is_whole = is_gathered or (op.kind == "cast" and self.layout.get(op.reads[0]) == "both")
        in_tokens = self.region == "tokens" and not is_whole
        for name in op.reads:
            if not (summed_late and self.layout.get(name) == "partial"):
                self._arrive(name, op, in_tokens=in_tokens, is_gathered=is_gathered)
        extents = self._token_extents(in_tokens)
        local = self._local(op, extents)
        before, after = self._exchanges(op, extents)
        if self.degrees.context > 1 and op.kind == "attention":
            local = _mean_over_contexts(local, self.extents["token"] * self.degrees.context)
        self.steps += [*before, local, *after]
        for name in op.writes:
            self._leave(name, op, spread, extents)
            if name in summed_late:
                self.layout[name] = "partial"

    def _summed_late(self, op: Op) -> tuple[str, ...]:
        """What `op` writes as partial sums because it is linear in reads that are: one sum after it serves them all."""
        is_partial = [self.layout.get(name) == "partial" for name in op.reads]
        if op.kind == "add":
            return op.writes if all(is_partial) else ()
        if self.degrees.expert > 1:
            return ()
        is_backward = op.phase.endswith("gradient")
        if op.kind == "combine" and is_partial[0]:
            return op.writes[1:] if is_backward else op.writes
        return op.writes if op.kind == "dispatch" and is_backward and is_partial[-1] else ()

    def _copies_rows(self, op: Op) -> bool:
        """Whether `op` copies rows for ops that read all tokens, so that gathering before it moves less than after."""
        return op.kind == "dispatch" and self.degrees.expert == 1 and not op.phase.endswith("gradient")

    def _spread_axes(self, op: Op) -> set[str]:
        if self.degrees.tensor == 1:
            return set()
        axes = {axis for name in (*op.reads, *op.writes) for axis in self.block.tensors[name].axes} | set(op.space)
        return axes & set(TENSOR_AXES)

    def _arrive(self, name: str, op: Op, *, in_tokens: bool, is_gathered: bool) -> None:
        """Bring a tensor that `op` reads into the layout that it needs."""
        have = self.layout.get(name)
        if have == "partial":
            self._sum(name, op.phase, wants="tokens" if in_tokens else "whole")
        elif have == "tokens" and is_gathered and not set(self.block.tensors[name].axes) & set(TENSOR_AXES):
            under = "matmul" if op.phase == "weight_gradient" else ""
            self.steps.append(self._transfer("all_gather", "tensor", name, op.phase, under=under))
            self.layout[name] = "both"
            whole = self._bytes_of(self.block.tensors[name], self.extents)
            self.lives.write(f"{name} gathered", whole, beside=name)

    def _sum(self, name: str, phase: ProgramPhase, *, wants: str) -> None:
        under = "matmul" if phase.endswith("gradient") else ""
        kind = "reduce_scatter" if wants == "tokens" else "all_reduce"
        transfer = self._transfer(kind, "tensor", name, phase, under=under)
        self.steps += [transfer] * self.num_sums.pop(name, 1)
        self.layout[name] = wants
        if name in self.local_bytes:
            extents = self._token_extents(wants == "tokens")
            self.local_bytes[name] = self._bytes_of(self.block.tensors[name], extents)

    def _transfer(
        self, kind: str, mesh_axis: str, name: str, phase: ProgramPhase, *, under: str = "", neighbours: int = 0
    ) -> Transfer:
        ways = self.degrees.context if mesh_axis == "context" else 1
        return Transfer(
            kind=kind, mesh_axis=mesh_axis, num_bytes=self._bytes_of(self.block.tensors[name], self.extents) * ways,
            phase=phase, tensor=name, under=under, neighbours=neighbours,
        )  # fmt: skip

    def _exchanges(self, op: Op, extents: dict[str, int]) -> tuple[list[Transfer], list[Transfer]]:
        """What expert and context ranks exchange before and after `op`."""
        before: list[Transfer] = []
        after: list[Transfer] = []
        if self.degrees.expert > 1 and op.kind in ("dispatch", "combine"):
            back = [name for name in op.reads if name in self.at_experts]
            is_sent = op.phase.endswith("gradient") == (op.kind == "combine")
            sent = op.writes[:1] if is_sent else ()
            before += [self._exchange(name, op.phase, extents) for name in back]
            after += [self._exchange(name, op.phase, extents) for name in sent]
            self.at_experts = self.at_experts.difference(back).union(sent)
        elif not self.at_experts.isdisjoint(op.reads):
            self.at_experts |= set(op.writes)
        if self.degrees.context > 1:
            keys, gradients = self._over_sequence(op)
            before += [self._transfer("all_gather", "context", n, op.phase, under="attention") for n in keys]
            after += [self._transfer("reduce_scatter", "context", n, op.phase, under="attention") for n in gradients]
        return before, after

    def _exchange(self, name: str, phase: ProgramPhase, extents: dict[str, int]) -> Transfer:
        size = self._bytes_of(self.block.tensors[name], extents)
        return Transfer(kind="all_to_all", mesh_axis="expert", num_bytes=size, phase=phase, tensor=name)

    def _over_sequence(self, op: Op) -> tuple[list[str], list[str]]:
        """The tensors of tokens that `op` reads, and writes, for the whole sequence: keys, values, their gradients."""
        tensors = self.block.tensors
        if op.kind == "attention":
            reads, writes = op.reads[1:3], op.writes[1:3] if op.options.get("is_backward") else ()
        elif op.kind == "view" and "key" in {axis for n in (*op.reads, *op.writes) for axis in tensors[n].axes}:
            reads, writes = op.reads, op.writes
        else:
            reads, writes = (), ()
        is_tokens = [[n for n in dict.fromkeys(names) if "token" in tensors[n].axes] for names in (reads, writes)]
        return is_tokens[0], is_tokens[1]

    def _leave(self, name: str, op: Op, spread: set[str], extents: dict[str, int]) -> None:
        tensor = self.block.tensors[name]
        if tensor.role in ("weight", "gradient"):
            self._combine_once(name, spread, is_share=extents is not self.extents)
            return
        if op.kind == "view":
            self.layout[name] = self.layout.get(op.reads[0], "whole")
            self.lives.alias(name, op.reads[0])
        else:
            contracted = _as_heads(spread) - _as_heads(tensor.axes)
            self.layout[name] = "partial" if contracted else "tokens" if extents is not self.extents else "whole"
            if contracted and op.kind in ROW_STATISTICS:
                self.num_sums[name] = ROW_STATISTICS[op.kind]
        self.local_bytes[name] = self._bytes_of(tensor, extents)
        if op.kind != "view" and name not in self.block.saved:
            self.lives.write(name, self.local_bytes[name])

    def _combine_once(self, name: str, spread: set[str], *, is_share: bool) -> None:
        """A gradient that every rank has a part of, of a weight that every rank has: summed once per step.

        Ranks see other tokens, or other heads; ranks that hold the same key head see other query heads.
        """
        axes = self.block.tensors[name].axes
        is_everywhere = is_share or _as_heads(spread) - _as_heads(axes)
        sharing = self.degrees.tensor // axes["kv_head"] if "kv_head" in axes else 1
        if is_everywhere or sharing > 1:
            neighbours = 0 if is_everywhere else sharing
            transfer = self._transfer("all_reduce", "tensor", name, "optimizer", neighbours=neighbours)
            self.once = [t for t in self.once if t.tensor != name] + [transfer]

    def _token_extents(self, in_tokens: bool) -> dict[str, int]:
        if not in_tokens or "token" not in self.extents:
            return self.extents
        return {**self.extents, "token": self.extents["token"] // self.degrees.tensor}

    def _local(self, op: Op, extents: dict[str, int]) -> Op:
        space = {axis: extents.get(axis, own) for axis, own in op.space.items()}
        if "expert" in space and self.experts.isdisjoint((*op.reads, *op.writes)):
            space["expert"] = op.space["expert"]
        return replace(op, space=FrozenMap(space))

    def _elements_of(self, tensor: Tensor, extents: dict[str, int]) -> int:
        everywhere = {"expert"} if tensor.name not in self.experts else set()
        return prod(own if axis in everywhere else extents.get(axis, own) for axis, own in tensor.axes.items())

    def _bytes_of(self, tensor: Tensor, extents: dict[str, int]) -> float:
        return self._elements_of(tensor, extents) * tensor.dtype.bytes_per_element

    def _result(self) -> ShardedBlock:
        edge = self._token_extents(self.region == "tokens")
        of_edge = {n: self._bytes_of(self.block.tensors[n], edge) for n in (*self.block.inputs, *self.block.outputs)}
        sizes = {**of_edge, **self.local_bytes}
        once_per_step = (op for op in self.block.ops if op.phase == "optimizer")
        copies = {n for op in once_per_step for n in op.writes if self.block.tensors[n].role == "activation"}
        elements = dict.fromkeys(("dense", "expert", "shared"), 0)
        state: dict[tuple[str, str], float] = {}
        for tensor in self.block.tensors.values():
            group = self._group(tensor)
            role = "weight" if tensor.name in copies else tensor.role
            if tensor.role == "weight":
                elements[group] += self._elements_of(tensor, self.extents)
            if role in ("weight", "gradient", "optimizer_state", "kv_cache"):
                state[role, group] = state.get((role, group), 0.0) + self._bytes_of(tensor, self.extents)
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
        return "expert" if tensor.name in self.experts else "dense"


def _mean_over_contexts(op: Op, num_tokens: int) -> Op:
    """Attention of one context rank: each holds a chunk from the start and one from the end of the sequence, so that
    a token sees as many keys as the mean over all tokens (Liu et al. 2023; Llama Team 2024, section 3.3.2)."""
    window = int(op.options.get("window", 0)) or num_tokens
    if not op.options.get("is_causal", True) or op.space["key"] != num_tokens:
        return op
    pairs = window * num_tokens - window * (window - 1) // 2
    options: FrozenMap[str, Option] = FrozenMap({**op.options, "is_causal": False})
    space: FrozenMap[str, int] = FrozenMap({**op.space, "key": max(1, round(pairs / num_tokens))})
    return replace(op, space=space, options=options)


def _as_heads(axes: Iterable[str]) -> set[str]:
    """Key-value heads are groups of query heads: an op over both is spread over one axis, and contracts neither."""
    return {"head" if axis == "kv_head" else axis for axis in axes}
