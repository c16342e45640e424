"""Which function runs which kind of op."""

from collections.abc import Callable

from aisys.errors import Unsupported
from aisys.testing.execution import pointwise, products, selection, update
from aisys.testing.execution.call import Array, Call

RUN: dict[str, Callable[[Call], tuple[Array, ...]]] = {
    "matmul": products.matmul,
    "grouped_matmul": products.grouped_matmul,
    "attention": products.attention,
    "reduce": products.reduce,
    "norm": pointwise.norm,
    "activation": pointwise.activation,
    "gated_activation": pointwise.gated_activation,
    "add": pointwise.add,
    "rope": pointwise.rope,
    "softmax": pointwise.softmax,
    "dropout": pointwise.dropout,
    "cast": pointwise.cast,
    "view": pointwise.view,
    "embedding": selection.embedding,
    "cross_entropy": selection.cross_entropy,
    "topk": selection.topk,
    "dispatch": selection.dispatch,
    "combine": selection.combine,
    "optimizer": update.optimizer,
}
"""Every kind that computes on numbers; conv_state and traversal have none here."""


def compute(call: Call) -> tuple[Array, ...]:
    """What the op writes. Raises Unsupported for a kind that has no arithmetic here."""
    if call.op.kind not in RUN:
        raise Unsupported(f"op {call.op.name!r} of kind {call.op.kind!r} cannot run here; known: {', '.join(RUN)}")
    written = RUN[call.op.kind](call)
    assert len(written) == len(call.op.writes), f"{call.op.name} gives {len(written)} of {len(call.op.writes)} results"
    return written
