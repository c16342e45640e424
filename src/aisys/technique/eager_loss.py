"""The loss as separate kernels over scores in fp32, the way frameworks run it without a fused kernel."""

from dataclasses import dataclass, replace

from aisys.errors import CannotApply
from aisys.frozen import FrozenMap
from aisys.ir import DTYPES, Block, Graph, Op, Tensor, gradient_name, verify


@dataclass(frozen=True, slots=True)
class EagerLoss:
    """Replace each fused cross-entropy by its steps: scores to fp32, largest, shift, the label's one, exponential, sum,
    division; and backward by a product and the way back to 16 bits. Backward keeps the probabilities in fp32 instead of
    the scores.

    Source: Shoeybi et al. 2019 (Megatron-LM), vocab_parallel_cross_entropy; Korthikanti et al. 2022, section 4 (logits
    in fp32). Raises CannotApply where no loss is there to train on.
    """

    def apply(self, graph: Graph) -> Graph:
        """The same training graph without an op of kind cross_entropy."""
        if not any(op.kind == "cross_entropy" for block in graph.blocks for op in block.ops):
            raise CannotApply(f"eager_loss: {graph.name!r} has no loss; apply TrainingStep first")
        return verify(graph.map_blocks({block: _unfuse(block) for block in graph.blocks}))


def _unfuse(block: Block) -> Block:
    ops: list[Op] = []
    tensors = dict(block.tensors)
    saved = list(block.saved)
    for op in block.ops:
        if op.kind != "cross_entropy":
            ops.append(op)
            continue
        scores = op.reads[0]
        is_backward = op.phase != "forward"
        parts, added = _backward(op, tensors[scores]) if is_backward else _forward(op, tensors)
        ops += parts
        tensors |= {t.name: t for t in added}
        saved = [f"{scores}.probabilities" if n == scores else n for n in saved]
    return replace(block, ops=tuple(ops), tensors=FrozenMap(tensors), saved=tuple(saved))


def _forward(op: Op, tensors: dict[str, Tensor]) -> tuple[list[Op], list[Tensor]]:
    scores, loss = tensors[op.reads[0]], tensors[op.writes[0]]
    names = [f"{scores.name}.{n}" for n in ("fp32", "shifted", "exponentials", "probabilities")]
    wide = [Tensor(name, scores.axes, DTYPES["fp32"]) for name in names]
    rows = [Tensor(f"{scores.name}.{n}", loss.axes, DTYPES["fp32"]) for n in ("largest", "sum", "of_label")]
    steps = (
        ("cast", (scores.name,), names[0], "cast"), ("reduce", (names[0],), rows[0].name, "max"),
        ("activation", (names[0], rows[0].name), names[1], "subtract"),
        ("embedding", (op.reads[1], names[1]), rows[2].name, "pick"), ("activation", (names[1],), names[2], "exp"),
        ("reduce", (names[2],), rows[1].name, "sum"), ("activation", (names[2], rows[1].name), names[3], "divide"),
        ("reduce", (rows[1].name, rows[2].name), loss.name, "loss"),
    )  # fmt: skip
    ops = [
        Op(name=out, kind=kind, space=loss.axes if out == loss.name else scores.axes, reads=reads, writes=(out,),
           options=FrozenMap({"function": function}))
        for kind, reads, out, function in steps
    ]  # fmt: skip
    return ops, [*wide, *rows]


def _backward(op: Op, scores: Tensor) -> tuple[list[Op], list[Tensor]]:
    wide = Tensor(f"{gradient_name(scores.name)}.fp32", scores.axes, DTYPES["fp32"])
    product = replace(
        op, name=wide.name, kind="activation", reads=(f"{scores.name}.probabilities", *op.reads[1:]),
        writes=(wide.name,), options=FrozenMap({"function": "loss_product"}),
    )  # fmt: skip
    return [product, replace(op, name=f"{op.name}.cast", kind="cast", reads=(wide.name,), options=FrozenMap())], [wide]
