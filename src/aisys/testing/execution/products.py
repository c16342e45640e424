"""Matmuls, grouped matmuls and attention on arrays, forward and backward."""

from collections.abc import Sequence

import numpy as np

from aisys.testing.execution.call import ROUTED, Array, Call, onto

EXPERT = "expert"


def matmul(call: Call) -> tuple[Array, ...]:
    """Contracts every axis that the result lacks; axes outside the op's space stand at their first index."""
    op = call.op
    operands = [_inside(call, i) for i in (0, 1)]
    axes = [axis for axis in call.axes(op.writes[0]) if axis in op.space]
    result = _contract(operands, axes)
    if len(op.reads) > 2 and call.where.adds_bias:
        result = result + onto(call.values[2], call.axes(op.reads[2]), axes)
    return (_widened(call, result),)


def grouped_matmul(call: Call) -> tuple[Array, ...]:
    """One matmul per expert, over the rows that go to it; rows that go to another device's experts give zero."""
    op = call.op
    operands = [(call.values[i], call.axes(op.reads[i])) for i in (0, 1)]
    axes = call.axes(op.writes[0])
    chosen = call.chosen(op.space[EXPERT])
    result = _contract([*operands, (chosen, (*ROUTED, EXPERT))], axes)
    if len(op.reads) > 2 and call.where.adds_bias:
        bias = (call.values[2], call.axes(op.reads[2]))
        result = result + onto(_contract([(chosen, (*ROUTED, EXPERT)), bias], axes), axes, axes)
    return (result,)


def reduce(call: Call) -> tuple[Array, ...]:
    """The sum over every axis that the result lacks, or the largest; a result per expert sums that expert's rows."""
    op = call.op
    given, axes = call.axes(op.reads[0]), call.axes(op.writes[0])
    if call.function == "max":
        return (call.values[0].max(tuple(i for i, axis in enumerate(given) if axis not in axes)),)
    if call.function == "loss":
        return (np.log(call.values[0]) - call.values[1],)
    operands = [(call.values[0], given)]
    if EXPERT in axes and EXPERT not in given:
        operands.append((call.chosen(op.space[EXPERT]), (*ROUTED, EXPERT)))
    return (_contract(operands, axes),)


def _contract(operands: Sequence[tuple[Array, Sequence[str]]], axes: Sequence[str]) -> Array:
    letters: dict[str, str] = {}
    for _, names in operands:
        for name in names:
            letters.setdefault(name, chr(ord("a") + len(letters)))
    left = ",".join("".join(letters[name] for name in names) for _, names in operands)
    held = [axis for axis in axes if axis in letters]
    result: Array = np.einsum(f"{left}->{''.join(letters[a] for a in held)}", *(array for array, _ in operands))
    return onto(result, held, axes)


def _inside(call: Call, index: int) -> tuple[Array, list[str]]:
    """An operand and its axes, at the first index of axes that the op does not run over (the first token)."""
    axes = call.axes(call.op.reads[index])
    cut = tuple(slice(None) if axis in call.op.space else 0 for axis in axes)
    return call.values[index][cut], [axis for axis in axes if axis in call.op.space]


def _widened(call: Call, result: Array) -> Array:
    """The result in a tensor with axes outside the op's space: zero but at their first index."""
    axes = call.tensors[call.op.writes[0]].axes
    if all(axis in call.op.space for axis in axes):
        return result
    wide = np.zeros([call.op.space.get(axis, extent) for axis, extent in axes.items()])
    wide[tuple(slice(None) if axis in call.op.space else 0 for axis in axes)] = result
    return wide


def attention(call: Call) -> tuple[Array, ...]:
    """Softmax of scaled, masked scores times values; backward runs it again from queries and keys."""
    q, k, v = (_heads(call, i) for i in range(3))
    num_sinks = 1 if len(call.op.reads) > (5 if call.is_backward else 3) else 0
    sinks = call.values[3] if num_sinks else None
    scores = np.einsum("bthd,bkhd->bhtk", q, k) / np.sqrt(q.shape[-1])
    capped = softcap(scores, call)
    weights = softmax_rows(call, capped, sinks)
    keep = _keep(call)
    if not call.is_backward:
        out = np.einsum("bhtk,bkhv->bthv", weights * keep, v)
        return (onto(out, ("batch", "token", "head", "value_dim"), call.axes(call.op.writes[0])),)
    out, given = (_named(call, i, ("batch", "token", "head", "value_dim")) for i in (-2, -1))
    shared = np.einsum("bthv,bthv->bht", given, out)
    d_weights = np.einsum("bthv,bkhv->bhtk", given, v) * keep
    d_scores = weights * (d_weights - shared[..., None]) * softcap_slope(scores, call) / np.sqrt(q.shape[-1])
    parts = [
        np.einsum("bhtk,bkhd->bthd", d_scores, k), np.einsum("bhtk,bthd->bkhd", d_scores, q),
        np.einsum("bhtk,bthv->bkhv", weights * keep, given),
    ]  # fmt: skip
    d_sinks = [-((1 - weights.sum(-1)) * shared).sum((0, 2))] if num_sinks else []
    return (*(_per_key_head(call, part, i) for i, part in enumerate(parts)), *d_sinks)


def softmax_rows(call: Call, scores: Array, sinks: Array | None) -> Array:
    """Softmax over the visible keys of scores [batch, head, token, key]; a sink takes a share and gives nothing."""
    masked = np.where(_visible(call, scores.shape[-1]), scores, -np.inf)
    top = masked.max(-1, keepdims=True)
    extra = 0.0
    if sinks is not None:
        logits = sinks[None, :, None, None]
        top = np.maximum(top, logits)
        extra = np.exp(logits - top)
    exponents = np.exp(masked - top)
    weights: Array = exponents / (exponents.sum(-1, keepdims=True) + extra)
    return weights


def softcap(scores: Array, call: Call) -> Array:
    """Scores squashed to +-softcap where the op says so."""
    cap = float(call.op.options.get("softcap", 0.0))
    return np.asarray(cap * np.tanh(scores / cap)) if cap else scores


def softcap_slope(scores: Array, call: Call) -> Array:
    """The derivative of `softcap`."""
    cap = float(call.op.options.get("softcap", 0.0))
    return np.asarray(1 - np.tanh(scores / cap) ** 2) if cap else np.ones_like(scores)


def _visible(call: Call, num_keys: int) -> Array:
    """Whether a token of this device sees a key, array [token, key]: positions count back from the last token."""
    query = (call.where.num_tokens - 1 - call.where.positions)[:, None]
    key = (num_keys - 1 - np.arange(num_keys))[None, :]
    window = int(call.op.options.get("window", 0))
    visible = np.ones((len(query), num_keys), bool)
    if call.op.options.get("is_causal", True):
        visible &= key >= query
    if window:
        visible &= key < query + window
    return visible


def _keep(call: Call) -> Array:
    rate = float(call.op.options.get("dropout", 0.0))
    if not rate:
        return np.ones(())
    assert call.mask is not None, f"{call.op.name} drops out and has no mask"
    return call.mask / (1 - rate)


def _named(call: Call, index: int, axes: Sequence[str]) -> Array:
    return onto(call.values[index], call.axes(call.op.reads[index]), axes)


def _heads(call: Call, index: int) -> Array:
    """Queries, keys or values as [batch, token or key, head, width]; key heads repeated for their query heads."""
    axes = call.axes(call.op.reads[index])
    head = next(axis for axis in axes if axis in ("head", "kv_head"))
    along = next(axis for axis in axes if axis in ("token", "key"))
    array = _named(call, index, ("batch", along, head, axes[-1]))
    if index == 0:
        return array
    width = call.op.space["head_dim" if index == 1 else "value_dim"]
    repeat = call.op.space["head"] // array.shape[2]
    return array[..., :width].repeat(repeat, axis=2)


def _per_key_head(call: Call, gradient: Array, index: int) -> Array:
    """A gradient [batch, token or key, head, width] in the axes of its tensor, summed over a key head's queries."""
    axes = call.axes(call.op.writes[index])
    head = next(axis for axis in axes if axis in ("head", "kv_head"))
    along = next(axis for axis in axes if axis in ("token", "key"))
    heads = call.op.space["head" if index == 0 else "kv_head"]
    batch, length, _, width = gradient.shape
    grouped = gradient.reshape(batch, length, heads, -1, width).sum(3)
    return onto(grouped, ("batch", along, head, axes[-1]), axes)
