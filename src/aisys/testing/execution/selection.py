"""Ops that select rows: embeddings, cross entropy, and the routing of tokens to experts, forward and backward."""

from dataclasses import dataclass, replace

import numpy as np

from aisys.testing.execution.call import Array, Call, Ints, onto


def embedding(call: Call) -> tuple[Array, ...]:
    """Row `index` of a table; rows that another device holds are zero. A table per token gives one number of each."""
    op = call.op
    if call.function == "pick":
        chosen, label, is_chosen = _logits(replace(call, values=call.values[::-1]))
        return (np.take_along_axis(chosen, label[..., None], -1)[..., 0] * is_chosen,)
    table = call.tensors[op.writes[0] if call.is_backward else op.reads[1]]
    first = call.where.first_vocab if "vocab" in table.axes else 0
    num_rows = op.space[next(iter(table.axes))]
    local = call.values[0].astype(np.int64) - first
    is_held = (local >= 0) & (local < num_rows)
    if not call.is_backward:
        return (call.values[1][np.where(is_held, local, 0)] * is_held[..., None],)
    given = call.values[-1]
    out = np.zeros((num_rows, given.shape[-1]))
    np.add.at(out, local[is_held], given[is_held])
    return (out,)


@dataclass(frozen=True, eq=False)
class Rows:
    """What one device knows of a softmax over a vocabulary of which it holds a part; arrays [batch, token].

    top: the largest logit, total: sum of exp(logit - top), chosen: the label's logit, or 0 where another holds it.
    num_combined: how many of the three are those of the whole vocabulary already.
    """

    top: Array
    total: Array
    chosen: Array
    num_combined: int = 0

    @property
    def log_sum(self) -> Array:
        """Log of the sum of exponentials, once every part is in."""
        return np.asarray(self.top + np.log(self.total))

    @property
    def loss(self) -> Array:
        """Minus the log of the label's probability."""
        return np.asarray(self.log_sum - self.chosen)


def rows(call: Call) -> Rows:
    """The statistics of this device's part of the vocabulary."""
    logits, label, is_held = _logits(call)
    top = logits.max(-1)
    picked = np.take_along_axis(logits, label[..., None], -1)[..., 0]
    return Rows(top, np.exp(logits - top[..., None]).sum(-1), np.where(is_held, picked, 0.0))


def cross_entropy(call: Call) -> tuple[Array, ...]:
    """Minus the log-probability of each label; backward is softmax minus the label, times the loss's gradient."""
    if not call.is_backward:
        return (rows(call).loss,)
    log_sum = rows(call).log_sum if call.log_sums is None else call.log_sums
    return (loss_gradient(call, np.exp(call.values[0] - log_sum[..., None])),)


def loss_gradient(call: Call, probabilities: Array) -> Array:
    """The gradient of the scores from their probabilities, the labels and the gradient of the loss."""
    _, label, is_held = _logits(call)
    of_label = (np.arange(probabilities.shape[-1]) == label[..., None]) * is_held[..., None]
    given = onto(call.values[-1], call.axes(call.op.reads[-1]), (*call.axes(call.op.reads[1]), "vocab"))
    return np.asarray((probabilities - of_label) * given)


def _logits(call: Call) -> tuple[Array, Ints, Array]:
    label = call.values[1].astype(np.int64) - call.where.first_vocab
    is_held = (label >= 0) & (label < call.values[0].shape[-1])
    return call.values[0], np.where(is_held, label, 0), is_held


def topk(call: Call) -> tuple[Array, ...]:
    """The experts of each token with the largest score (plus a correction), and softmax over their scores."""
    op = call.op
    if not call.is_backward:
        scores = call.values[0]
        ranked = scores + call.values[1] if len(op.reads) > 1 else scores
        choice: Ints = np.argsort(-ranked, axis=-1, kind="stable")[..., : op.space["topk"]]
        picked = np.take_along_axis(scores, choice, -1)
        shares = np.exp(picked - picked.max(-1, keepdims=True))
        return shares / shares.sum(-1, keepdims=True), choice.astype(np.float64)
    share, choice, given = call.values[0], call.values[1].astype(np.int64), call.values[-1]
    picked = share * (given - (share * given).sum(-1, keepdims=True))
    out = np.zeros((*share.shape[:-1], op.space["expert"]))
    np.put_along_axis(out, choice, picked, -1)
    return (out, *(np.zeros(op.space["expert"]) for _ in op.writes[1:]))


def dispatch(call: Call) -> tuple[Array, ...]:
    """A copy of each token for every expert that it goes to."""
    if call.is_backward:
        return (call.values[-1].sum(2),)
    x = call.values[0]
    return (np.broadcast_to(x[:, :, None], (*x.shape[:2], call.op.space["topk"], x.shape[-1])).copy(),)


def combine(call: Call) -> tuple[Array, ...]:
    """The results of a token's experts, weighted by its shares of them."""
    results, share = call.values[:2]
    if not call.is_backward:
        return ((results * share[..., None]).sum(2),)
    given = call.values[-1][:, :, None]
    return share[..., None] * given, (results * given).sum(-1)
