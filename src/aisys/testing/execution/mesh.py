"""Every rank of a mesh runs its share of a graph, step by step, and really moves what the transfers say."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

import numpy as np

from aisys.frozen import FrozenMap
from aisys.ir import Graph, Op, Tensor, gradient_name
from aisys.plan import Degrees, ShardedBlock, Transfer, shard
from aisys.plan.sharding import TENSOR_AXES
from aisys.testing.contract import ContractBroken, require
from aisys.testing.execution.call import Array, Call, Ints, Where
from aisys.testing.execution.cut import Cut, Rank
from aisys.testing.execution.device import Execution, given_to, mask_of, routing_of, start_of_training
from aisys.testing.execution.kinds import compute
from aisys.testing.execution.moves import Held, Move
from aisys.testing.execution.numbers import Numbers, weight_key
from aisys.testing.execution.selection import rows

Step = Op | Transfer
PerRank = dict[Rank, list[Array]]


def execute_sharded(graph: Graph, degrees: Degrees, numbers: Numbers) -> Execution:
    """Run what `plan.shard` says every rank of a mesh does, and put the results of all ranks together.

    Gradients of weights are summed over the ranks that see other sequences or tokens, as data parallelism does. One
    number per row of a cross entropy over a spread vocabulary stays from forward to backward beside the saved tensors.
    Raises ContractBroken where a rank reads what it does not hold, ranks that should agree do not, extents differ from
    those that are priced, or a transfer moves other bytes than it says.
    """
    sharded = {block: shard(block, degrees) for block in graph.blocks}
    layers = [_Layer(graph, i, sharded[block], degrees, numbers) for i, block in enumerate(graph.layers)]
    passed: PerRank = {}
    for layer in layers:
        passed = layer.forward(passed)
    outputs = layers[-1].outputs()
    if not any(op.phase.endswith("gradient") for block in graph.blocks for op in block.ops):
        return Execution(outputs=FrozenMap(outputs), gradients=FrozenMap(), weights=FrozenMap())
    for layer in layers:
        layer.forget()
    gradients = layers[-1].first_gradients()
    for layer in reversed(layers):
        gradients = layer.backward(gradients)
    by_weight: dict[str, Array] = {}
    for layer in layers:
        for key, value in layer.weight_gradients().items():
            by_weight[key] = by_weight[key] + value if key in by_weight else value
    weights: dict[str, Array] = {}
    for layer in layers:
        weights |= layer.update(by_weight)
    return Execution(outputs=FrozenMap(outputs), gradients=FrozenMap(by_weight), weights=FrozenMap(weights))


class _Layer:
    """One layer on all ranks."""

    def __init__(self, graph: Graph, index: int, sharded: ShardedBlock, degrees: Degrees, numbers: Numbers) -> None:
        self.graph, self.index, self.sharded, self.degrees = graph, index, sharded, degrees
        self.block = graph.layers[index]
        self.tensors = self.block.tensors
        self.meaning = {op.name: op for op in self.block.ops}
        self.cut = Cut(degrees, next(t.axes["token"] for t in self.tensors.values() if "token" in t.axes), self.block)
        keys = {t.name: weight_key(graph, index, t.name) for t in self.block.tensors_of("weight")}
        self.weights = {name: numbers.weights[key] for name, key in keys.items()}
        self.given = given_to(index, numbers.given)
        self.held = {rank: Held() for rank in self.cut.ranks}
        self._give({**self.weights, **self._inputs()})
        self._check_weights()
        before = list(takewhile(lambda step: step.phase == "optimizer", sharded.steps))
        self.prepared = {name for step in before if isinstance(step, Op) for name in step.writes}
        self._run(before)
        self.updates = [s for s in sharded.steps[len(before) :] if s.phase == "optimizer"]

    # ---- passes

    def forward(self, passed: PerRank) -> PerRank:
        """Run forward on what each rank's layer before gives."""
        for rank, arrays in passed.items():
            self.held[rank].values |= dict(zip(self.block.inputs, arrays, strict=False))
        self._run([step for step in self.sharded.steps if step.phase == "forward"])
        given = {rank: [self._value(n, rank, "the end") for n in self.block.outputs] for rank in self.held}
        pairs = zip(self.block.outputs, next(iter(given.values())), strict=True)
        self.shares = {name for name, value in pairs if self.cut.is_share(self.tensors[name], value)}
        return given

    def forget(self) -> None:
        """Drop all that backward may not see; what is left must be what the plan counts."""
        stays = {*self.weights, *self.prepared, *self._inputs(), *self.block.saved}
        for held in self.held.values():
            found = sum(self._num_bytes(name, held.values[name]) for name in self.block.saved)
            counted = self.sharded.saved_bytes
            require(abs(found - counted) < 0.5, f"{self._place}: {found:g} bytes are kept, the plan counts {counted:g}")
            held.values = {name: value for name, value in held.values.items() if name in stays}

    def backward(self, gradients: PerRank) -> PerRank:
        """Run recomputation, both kinds of gradients, and what ranks combine once per step."""
        for rank, arrays in gradients.items():
            self.held[rank].values |= dict(zip(map(gradient_name, self.block.outputs), arrays, strict=True))
        self._run([step for step in self.sharded.steps if step.phase not in ("forward", "optimizer")])
        self._run([step for step in self.updates if isinstance(step, Transfer)])
        names = [gradient_name(n) for n in self.block.inputs if self.tensors[n].role != "index"]
        return {rank: [held.values[n] for n in names if n in held.values] for rank, held in self.held.items()}

    def update(self, gradients: dict[str, Array]) -> dict[str, Array]:
        """The weights after the optimizer, by weight key."""
        known = {n: gradients.get(weight_key(self.graph, self.index, n)) for n in self.weights}
        self._give(start_of_training(self.block, self.weights))
        self._give({gradient_name(n): value for n, value in known.items() if value is not None})
        steps = [step for step in self.updates if isinstance(step, Op)]
        self._run(steps)
        names = [step.writes[0] for step in steps if step.kind == "optimizer"]
        return {weight_key(self.graph, self.index, name): self._whole(name) for name in names}

    # ---- what goes in and comes out

    @property
    def _place(self) -> str:
        return f"layer {self.index} ({self.block.name})"

    def _inputs(self) -> dict[str, Array]:
        written = {name for op in self.block.ops for name in op.writes}
        names = (n for n in self.given if n in self.tensors and n not in written and not n.startswith("d."))
        return {name: self.given[name] for name in names}

    def _give(self, arrays: dict[str, Array]) -> None:
        for name, array in arrays.items():
            for rank, held in self.held.items():
                held.values[name] = self.cut.part(self.tensors[name], array, rank)

    def _check_weights(self) -> None:
        counted = sum(self.sharded.elements.values())
        for held in self.held.values():
            found = sum(held.values[name].size for name in self.weights)
            require(found == counted, f"{self._place}: a rank holds {found} weights, the plan counts {counted}")

    def outputs(self) -> dict[str, Array]:
        """The whole outputs."""
        return {name: self._whole(name) for name in self.block.outputs}

    def first_gradients(self) -> PerRank:
        """The gradient of the last outputs, cut as the outputs stand."""
        out: PerRank = {rank: [] for rank in self.held}
        for name in self.block.outputs:
            for rank in self.held:
                whole = self.given[gradient_name(name)]
                out[rank].append(self.cut.part(self.tensors[name], whole, rank, in_tokens=name in self.shares))
        return out

    def weight_gradients(self) -> dict[str, Array]:
        """The whole gradient of every weight that backward reached, by weight key."""
        reached = [n for n in self.weights if all(gradient_name(n) in h.values for h in self.held.values())]
        return {weight_key(self.graph, self.index, n): self._whole(gradient_name(n), is_sum=True) for n in reached}

    def _whole(self, name: str, *, is_sum: bool = False) -> Array:
        parts = {rank: held.values[name] for rank, held in self.held.items()}
        return self.cut.whole(self.tensors[name], parts, is_sum=is_sum)

    def _num_bytes(self, name: str, value: Array) -> float:
        """Bytes of what a rank holds."""
        return value.size / self._ways(name, value) * self.tensors[name].dtype.bytes_per_element

    def _ways(self, name: str, value: Array) -> int:
        """How many ranks' sequences stand in one: rows for experts elsewhere are there as zeros, and do not count."""
        axes = list(self.tensors[name].axes)
        return value.shape[axes.index("batch")] // self.degrees.micro_batch if "batch" in axes else 1

    # ---- steps

    def _run(self, steps: Sequence[Step]) -> None:
        labels: dict[str, str] = {}
        stage = ""
        for step in steps:
            now = "backward" if step.phase.endswith("gradient") else step.phase
            if now != stage:
                for held in self.held.values():
                    held.gathered, held.sequences = {}, {}
            stage = now
            if isinstance(step, Transfer):
                self._move(step)
            else:
                self._compute(step, labels)

    def _move(self, step: Transfer) -> None:
        held = {rank: held.values.get(step.tensor) for rank, held in self.held.items()}
        is_mean = step.mesh_axis != "expert"
        ways = {r: self._ways(step.tensor, v) for r, v in held.items() if is_mean and v is not None}
        counts = Move(step=step, cut=self.cut, held=self.held, choice=self._choice).run()
        for rank, count in counts.items():
            found = count / ways.get(rank, 1) * self.tensors[step.tensor].dtype.bytes_per_element
            require(
                found == step.num_bytes,
                f"{self._place}: {step.kind} of {step.tensor!r} over {step.mesh_axis} moves {found:g} bytes on {rank}; "
                f"the plan says {step.num_bytes:g}",
            )

    def _compute(self, local: Op, labels: dict[str, str]) -> None:
        op = self._with_meaning(local)
        label = str(op.options.get("fuse", "")) if op.kind in ("matmul", "grouped_matmul") else ""
        is_more = bool(label) and op.phase.endswith("gradient") and labels.get(op.writes[0]) == label
        calls = {rank: self._call(op, rank) for rank in self.held}
        for rank, call in calls.items():
            held = self.held[rank]
            if op.kind == "cross_entropy" and not call.is_backward and self.degrees.tensor > 1:
                held.rows[op.writes[0]] = rows(call)
                continue
            for name, value in zip(op.reads, call.values, strict=True):
                self._check_extents(op, "reads", name, value)
            for name, value in zip(op.writes, compute(call), strict=True):
                self._check_extents(op, "writes", name, value)
                held.values[name] = held.values[name] + value if is_more else value
                held.gathered.pop(name, None)
        labels |= dict.fromkeys(op.writes, label)

    def _with_meaning(self, local: Op) -> Op:
        """The op over its local space, with all that its kind needs: a plan prices attention on a mean of its keys."""
        whole = self.meaning[local.name]
        space = dict(local.space)
        if "key" in space:
            space["key"] = whole.space["key"]
        return replace(local, space=FrozenMap(space), options=whole.options)

    def _spans_sequence(self, op: Op) -> bool:
        """Whether a view turns tokens into keys, or the other way round."""
        axes = [set(self.tensors[name].axes) for name in (*op.reads, *op.writes)]
        return op.kind == "view" and {"token", "key"} <= set.union(*axes)

    def _call(self, op: Op, rank: Rank) -> Call:
        in_tokens = self._in_tokens(op)
        held = self.held[rank]
        is_routed = op.kind in ("grouped_matmul", "reduce")
        where = Where(
            positions=self.cut.positions(rank, in_tokens=in_tokens), num_tokens=self.cut.num_tokens,
            adds_bias=rank.tensor == 0 or not self._contracts(op), first_vocab=rank.tensor * op.space.get("vocab", 0),
            first_expert=rank.expert * op.space.get("expert", 0) if is_routed else 0,
        )  # fmt: skip
        return Call(
            op=op, tensors=self.tensors, values=tuple(self._read(n, op, rank) for n in op.reads), where=where,
            routing=self._routing(op, rank), mask=self._mask(op, rank, in_tokens=in_tokens), log_sums=held.log_sums,
        )  # fmt: skip

    def _in_tokens(self, op: Op) -> bool:
        whole = self.cut.num_tokens // self.degrees.context
        return self.degrees.sequence_parallel and op.space.get("token", whole) < whole

    def _contracts(self, op: Op) -> bool:
        inside = {axis for name in op.reads[:2] for axis in self.tensors[name].axes} & set(TENSOR_AXES)
        return bool(inside - set(self.tensors[op.writes[0]].axes))

    def _read(self, name: str, op: Op, rank: Rank) -> Array:
        held = self.held[rank]
        value = self._value(name, rank, f"{op.phase} op {op.name!r}")
        axes = list(self.tensors[name].axes)
        is_keys = (op.kind == "attention" and name in op.reads[1:3]) or self._spans_sequence(op)
        if "token" not in axes:
            return value
        if is_keys and self.degrees.context > 1:
            require(
                name in held.sequences, f"{self._place}: {op.name!r} needs {name!r} of all tokens, {rank} has a part"
            )
            return held.sequences[name]
        wanted = op.space.get("token", self.cut.num_tokens // self.degrees.context)
        axis = axes.index("token")
        found = value.shape[axis]
        if found < wanted and name in held.gathered:
            return held.gathered[name]
        if found > wanted:
            return np.split(value, found // wanted, axis=axis)[rank.tensor]
        require(found == wanted, f"{self._place}: op {op.name!r} reads {wanted} tokens of {name!r}, {rank} has {found}")
        return value

    def _value(self, name: str, rank: Rank, reader: str) -> Array:
        if name not in self.held[rank].values:
            raise ContractBroken(f"{self._place}: {reader} reads {name!r}, which {rank} does not hold")
        return self.held[rank].values[name]

    def _choice(self, rank: Rank, num_tokens: int) -> Ints:
        """The experts of a rank's own rows, for the `num_tokens` tokens that an op over them sees."""
        name = next(op.reads[1] for op in self.block.ops if op.kind == "dispatch")
        choice = self.held[rank].values[name]
        if choice.shape[1] < num_tokens:
            group = self.cut.tensor_group(rank)
            choice = np.concatenate([self.held[r].values[name] for r in group], axis=1)
        elif choice.shape[1] > num_tokens:
            choice = np.split(choice, choice.shape[1] // num_tokens, axis=1)[rank.tensor]
        return choice.astype(np.int64)

    def _routing(self, op: Op, rank: Rank) -> Ints | None:
        if not routing_of(self.block, op):
            return None
        return np.concatenate([self._choice(r, op.space["token"]) for r in self.cut.expert_group(rank)])

    def _mask(self, op: Op, rank: Rank, *, in_tokens: bool) -> Array | None:
        mask = self.given.get(mask_of(op))
        if mask is None:
            return None
        names = ("batch", "head", "token", "key")
        axes = self.tensors[op.writes[-1]].axes if op.kind == "dropout" else dict(zip(names, mask.shape, strict=True))
        return self.cut.part(Tensor("mask", FrozenMap(axes)), mask, rank, in_tokens=in_tokens)

    def _check_extents(self, op: Op, does: str, name: str, value: Array) -> None:
        """What is read and written has the extents that are priced; routed rows are there for all expert ranks."""
        for axis, found in zip(self.tensors[name].axes, value.shape, strict=True):
            priced = op.space.get(axis, found)
            is_routed = axis == "batch" and "topk" in self.tensors[name].axes
            allowed = {priced, priced * self.degrees.expert} if is_routed else {priced}
            is_sequence = axis == "token" and (op.kind == "attention" or self._spans_sequence(op))
            require(
                found in allowed or is_sequence,
                f"{self._place}: {op.name!r} {does} {name!r} with {found} of {axis!r}; priced are {priced}",
            )
