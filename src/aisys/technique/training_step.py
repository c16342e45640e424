"""One training step: loss, backward and optimizer, all derived from the op rules."""

from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import groupby

from aisys.errors import CannotApply, unknown_name
from aisys.frozen import FrozenMap
from aisys.ir import DTYPES, Block, Graph, Op, Role, Tensor, gradient_name, rule, verify

_STATES = {"adam": ("exp_avg", "exp_avg_sq"), "sgd": (), "momentum": ("momentum",)}
"""fp32 tensors that each optimizer keeps per parameter. Source: Kingma and Ba 2015; Sutskever et al. 2013."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStep:
    """Add a cross-entropy loss, the backward pass and the optimizer update to every block.

    gradient_dtype: the format that weight gradients are accumulated in. master_dtype: format of the optimizer's
    own copy of the weights; empty where the weights themselves are updated.
    Source: Micikevicius et al. 2018 (mixed precision). Raises CannotApply where the graph already trains.
    """

    optimizer: str = "adam"
    gradient_dtype: str = "fp32"
    master_dtype: str = "fp32"

    def apply(self, graph: Graph) -> Graph:
        """The graph of one step: forward, gradient and optimizer ops, and the tensors they keep."""
        if self.optimizer not in _STATES:
            raise unknown_name("optimizer", self.optimizer, _STATES)
        if any(op.phase != "forward" for b in graph.blocks for op in b.ops):
            raise CannotApply(f"training_step: {graph.name!r} already has backward ops; apply it once")
        last = graph.segments[-1].block
        change = {b: self._train(_with_loss(b) if b == last else b) for b in graph.blocks}
        return verify(graph.map_blocks(change))

    def _train(self, block: Block) -> Block:
        backward = _Backward(block)
        ops = [*block.ops, *backward.run()]
        tensors = {**block.tensors, **backward.tensors}
        for weight in list(block.tensors_of("weight")):
            gradient = gradient_name(weight.name)
            tensors[gradient] = replace(weight, name=gradient, dtype=DTYPES[self.gradient_dtype], role="gradient")
            states = [*_STATES[self.optimizer], *(["master"] if self.master_dtype else [])]
            for state in states:
                name = f"{state}.{weight.name}"
                dtype = DTYPES[self.master_dtype if state == "master" else "fp32"]
                tensors[name] = Tensor(name, weight.axes, dtype, "optimizer_state")
            if gradient in backward.written:
                names = tuple(f"{state}.{weight.name}" for state in states)
                own = () if self.master_dtype else (weight.name,)
                ops.append(
                    Op(name=f"{self.optimizer}.{weight.name}", kind="optimizer", space=weight.axes, phase="optimizer",
                       reads=(gradient, *names, *own), writes=(weight.name, *names),
                       options=FrozenMap({"function": self.optimizer}))
                )  # fmt: skip
        return replace(block, ops=tuple(ops), tensors=FrozenMap(tensors), saved=backward.saved)


def _with_loss(block: Block) -> Block:
    logits = block.tensors[block.outputs[0]]
    rows = {axis: extent for axis, extent in logits.axes.items() if axis != "vocab"}
    labels = Tensor("labels", FrozenMap(rows), DTYPES["int64"], "index")
    loss = Tensor("loss", FrozenMap(rows), DTYPES["fp32"])
    op = Op(name="loss", kind="cross_entropy", space=logits.axes, reads=(logits.name, "labels"), writes=("loss",))
    tensors = {**block.tensors, "labels": labels, "loss": loss}
    return replace(block, ops=(*block.ops, op), tensors=FrozenMap(tensors), outputs=("loss",))


class _Backward:
    """Walks one block's forward ops in reverse and collects gradient ops, new tensors and what must be saved."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.tensors: dict[str, Tensor] = {}
        self.written: set[str] = set()
        self.saved: tuple[str, ...] = ()
        self._written_by: dict[str, tuple[str, str]] = {}
        self._alias: dict[str, str] = {}
        self._count: dict[str, int] = defaultdict(int)

    def run(self) -> list[Op]:
        block = self.block
        for name in block.outputs:
            self._declare(name)
        ops: list[Op] = []
        for _, group in groupby(reversed(block.ops), key=lambda op: op.options.get("fuse", op.name)):
            found = [g for op in group for g in self._backward_of(op)]
            ops += sorted(found, key=lambda op: (op.phase == "weight_gradient", op.kind in ("add", "reduce")))
        kept = dict.fromkeys(n for op in block.ops for n in rule(op.kind).saved(op))
        chosen = {n for op in block.ops for n in op.writes if block.tensors[n].role == "index"}
        self.saved = tuple(n for n in kept if block.tensors[n].role in ("activation", "spike") or n in chosen)
        return ops

    def _backward_of(self, op: Op) -> list[Op]:
        if op.kind == "add":
            return self._pass_through(op)
        out: list[Op] = []
        for gradient in rule(op.kind).gradients(op, self.block.tensors):
            reads = tuple(self._alias.get(n, n) for n in gradient.reads)
            label = str(op.options.get("fuse", op.name))
            writes, sums = [], []
            for name in gradient.writes:
                target, extra = self._contribute(name, label)
                writes.append(target)
                sums += extra
            out += [replace(gradient, reads=reads, writes=tuple(writes)), *sums]
        return out

    def _pass_through(self, op: Op) -> list[Op]:
        """An addition hands its output's gradient on to each input without an op; weights still reduce it."""
        given = gradient_name(op.writes[0])
        given = self._alias.get(given, given)
        sums: list[Op] = []
        for name in op.reads:
            if self.block.tensors[name].role == "weight":
                target = self._declare(name)
                sums.append(Op(name=f"{op.name}.d_{name}", kind="reduce", space=op.space, phase="weight_gradient",
                               reads=(given,), writes=(target,)))  # fmt: skip
            elif gradient_name(name) in self.written or gradient_name(name) in self._alias:
                sums.append(self._sum(name, given))
            else:
                self._alias[gradient_name(name)] = given
        return sums

    def _declare(self, name: str) -> str:
        source = self.block.tensors[name]
        gradient = gradient_name(name)
        role: Role = "gradient" if source.role == "weight" else "activation"
        self.tensors[gradient] = replace(source, name=gradient, role=role)
        self.written.add(gradient)
        return gradient

    def _contribute(self, gradient: str, label: str) -> tuple[str, list[Op]]:
        """The tensor that a gradient op writes, and the addition that a second contribution needs."""
        name = gradient.removeprefix("d.")
        if gradient not in self.written and gradient not in self._alias:
            self._written_by[gradient] = (label, gradient)
            return self._declare(name), []
        known_label, target = self._written_by.get(gradient, ("", ""))
        if known_label == label:
            return target, []
        self._count[gradient] += 1
        part = f"{gradient}@{self._count[gradient]}"
        self.tensors[part] = replace(self.block.tensors[name], name=part)
        self._written_by[gradient] = (label, part)
        return part, [self._sum(name, part)]

    def _sum(self, name: str, given: str) -> Op:
        gradient = gradient_name(name)
        before = self._alias.pop(gradient, gradient)
        self._declare(name)
        return self._addition(name, (before, given))

    def _addition(self, name: str, reads: tuple[str, str]) -> Op:
        space = self.block.tensors[name].axes
        gradient = gradient_name(name)
        return Op(
            name=f"{gradient}.sum", kind="add", space=space, phase="input_gradient", reads=reads, writes=(gradient,)
        )
