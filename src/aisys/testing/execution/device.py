"""One device runs a whole graph: forward, and backward from nothing but what forward kept."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import numpy as np

from aisys.frozen import FrozenMap
from aisys.ir import Block, Graph, Op, gradient_name
from aisys.testing.contract import ContractBroken
from aisys.testing.execution.call import Array, Call, Ints, Where
from aisys.testing.execution.kinds import compute
from aisys.testing.execution.numbers import Numbers, attention_mask, layer_key, weight_key


@dataclass(frozen=True, eq=False, kw_only=True)
class Execution:
    """outputs: of the last layer, by name. gradients: by weight key. weights: after the optimizer, by weight key."""

    outputs: FrozenMap[str, Array]
    gradients: FrozenMap[str, Array]
    weights: FrozenMap[str, Array]


def execute(graph: Graph, numbers: Numbers, *, forgotten: Collection[tuple[str, str]] = ()) -> Execution:
    """Run every op of `graph` on `numbers`, in double precision, formats not rounded.

    Between forward and backward each layer keeps only its block's `saved` tensors (without those in `forgotten`, pairs
    of block and tensor), what was given, and its weights.
    Raises ContractBroken where an op reads what nothing holds; Unsupported for an op that has no arithmetic here.
    """
    layers = [_Layer(graph, i, numbers) for i in range(len(graph.layers))]
    passed: list[Array] = []
    for layer in layers:
        passed = layer.forward(passed)
    outputs = dict(zip(layers[-1].block.outputs, passed, strict=True))
    if not any(op.phase.endswith("gradient") for block in graph.blocks for op in block.ops):
        return Execution(outputs=FrozenMap(outputs), gradients=FrozenMap(), weights=FrozenMap())
    for layer in layers:
        layer.forget(forgotten)
    last = len(layers) - 1
    gradients = [numbers.given[layer_key(last, gradient_name(n))] for n in layers[-1].block.outputs]
    by_weight: dict[str, Array] = {}
    for i, layer in reversed(list(enumerate(layers))):
        gradients = layer.backward(gradients)
        for name, value in layer.weight_gradients().items():
            key = weight_key(graph, i, name)
            by_weight[key] = by_weight[key] + value if key in by_weight else value
    weights: dict[str, Array] = {}
    for i, layer in enumerate(layers):
        weights |= layer.update({n: by_weight.get(weight_key(graph, i, n)) for n in layer.weights})
    return Execution(outputs=FrozenMap(outputs), gradients=FrozenMap(by_weight), weights=FrozenMap(weights))


@dataclass(eq=False)
class _Layer:
    """One layer in execution."""

    graph: Graph
    index: int
    numbers: Numbers
    values: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.block: Block = self.graph.layers[self.index]
        held = {t.name: weight_key(self.graph, self.index, t.name) for t in self.block.tensors_of("weight")}
        self.weights = {name: self.numbers.weights[key] for name, key in held.items()}
        self.given = given_to(self.index, self.numbers.given)
        self.values |= {**self.weights, **self.given}
        self._run(self._before_forward())
        self.prepared = {n: self.values[n] for op in self._before_forward() for n in op.writes}

    def forward(self, passed: list[Array]) -> list[Array]:
        """Run forward on what the layer before gives."""
        self.values |= dict(zip(self.block.inputs, passed, strict=False))
        self._run(self._of("forward"))
        return [self.values[name] for name in self.block.outputs]

    def forget(self, forgotten: Collection[tuple[str, str]]) -> None:
        """Drop all that backward may not see."""
        written = {name for op in self.block.ops for name in op.writes}
        given = {n: v for n, v in self.given.items() if n not in written and not n.startswith("d.")}
        kept = {n: self.values[n] for n in self.block.saved if (self.block.name, n) not in forgotten}
        self.values = {**self.weights, **self.prepared, **given, **kept}

    def backward(self, gradients: list[Array]) -> list[Array]:
        """Run recomputation and both kinds of gradients."""
        self.values |= {gradient_name(n): g for n, g in zip(self.block.outputs, gradients, strict=True)}
        self._run(self._of("recompute", "input_gradient", "weight_gradient"))
        floats = (n for n in self.block.inputs if self.block.tensors[n].role != "index")
        return [self.values[gradient_name(n)] for n in floats if gradient_name(n) in self.values]

    def weight_gradients(self) -> dict[str, Array]:
        """The gradient of every weight that backward reached."""
        found = {name: self.values.get(gradient_name(name)) for name in self.weights}
        return {name: value for name, value in found.items() if value is not None}

    def update(self, gradients: Mapping[str, Array | None]) -> dict[str, Array]:
        """The weights after the optimizer, by weight key; those that have no update stay out."""
        updates = self._of("optimizer")[len(self._before_forward()) :]
        self.values |= start_of_training(self.block, self.weights)
        self.values |= {gradient_name(n): g for n, g in gradients.items() if g is not None}
        self._run(updates)
        names = {op.writes[0] for op in updates if op.kind == "optimizer"}
        return {weight_key(self.graph, self.index, n): self.values[n] for n in names}

    def _of(self, *phases: str) -> list[Op]:
        return [op for op in self.block.ops if op.phase in phases]

    def _before_forward(self) -> list[Op]:
        """What a step does to its weights before it uses them: copies in another format."""
        return list(takewhile(lambda op: op.phase == "optimizer", self.block.ops))

    def _run(self, ops: Sequence[Op]) -> None:
        labels: dict[str, str] = {}
        for op in ops:
            written = compute(self._call(op))
            for name, value in zip(op.writes, written, strict=True):
                label = str(op.options.get("fuse", "")) if op.kind in ("matmul", "grouped_matmul") else ""
                is_more = bool(label) and op.phase.endswith("gradient") and labels.get(name) == label
                self.values[name] = self.values[name] + value if is_more else value
                labels[name] = label

    def _call(self, op: Op) -> Call:
        for name in op.reads:
            if name not in self.values:
                raise ContractBroken(
                    f"layer {self.index}, {op.phase}: op {op.name!r} reads {name!r}, which is neither saved nor written"
                )
        space = self.block.tensors
        num_tokens = op.space.get("token", 1)
        return Call(
            op=op, tensors=space, values=tuple(self.values[n] for n in op.reads),
            where=Where(positions=np.arange(num_tokens), num_tokens=num_tokens), routing=self._routing(op),
            mask=self.given.get(mask_of(op)),
        )  # fmt: skip

    def _routing(self, op: Op) -> Ints | None:
        name = routing_of(self.block, op)
        if name and name not in self.values:
            raise ContractBroken(f"layer {self.index}: op {op.name!r} needs {name!r}, which nothing keeps")
        return self.values[name].astype(np.int64) if name else None


def given_to(layer: int, given: Mapping[str, Array]) -> dict[str, Array]:
    """What is given to one layer, by tensor name."""
    prefix = layer_key(layer, "")
    return {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}


def routing_of(block: Block, op: Op) -> str:
    """The tensor that says which expert each row of a per-expert op goes to ("" for other ops)."""
    is_routed = op.kind == "grouped_matmul" or (op.kind == "reduce" and "expert" in block.tensors[op.writes[0]].axes)
    if not is_routed or not {"topk"} & set(block.tensors[op.reads[0]].axes):
        return ""
    return next(o.reads[1] for o in block.ops if o.kind == "dispatch")


def mask_of(op: Op) -> str:
    """The name of the mask that an op with dropout is given ("" for others)."""
    if op.kind != "attention":
        return op.writes[-1] if op.kind == "dropout" else ""
    return attention_mask(op.name.removesuffix(".again").removesuffix(".d_input"))


def start_of_training(block: Block, weights: Mapping[str, Array]) -> dict[str, Array]:
    """Optimizer states before the first step: zero, and the optimizer's own copy of each weight."""
    out: dict[str, Array] = {}
    for tensor in block.tensors_of("optimizer_state"):
        kind, weight = tensor.name.split(".", 1)
        out[tensor.name] = weights[weight].copy() if kind == "master" else np.zeros_like(weights[weight])
    return out
