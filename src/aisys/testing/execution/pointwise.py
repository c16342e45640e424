"""Ops that treat every element or row alike, on arrays, forward and backward."""

from collections.abc import Callable

import numpy as np

from aisys.errors import Unsupported
from aisys.testing.execution.call import Array, Call, onto, summed
from aisys.testing.execution.products import softmax_rows
from aisys.testing.execution.selection import loss_gradient

EPSILON = 1e-6
SCALE, CAP = 2.5, 3.0
"""What the functions scale and softcap use; the published values change no law."""

SEEN_AS = {"token": "key", "kv_head": "head"}
"""How a view renames the axes of keys and values for attention that is not fused."""

Slope = tuple[Callable[[Array], Array], Callable[[Array], Array]]


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _gelu_inner(x: Array) -> Array:
    return np.asarray(np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def _gelu_slope(x: Array) -> Array:
    inner = _gelu_inner(x)
    return np.asarray((1 + inner) / 2 + x / 2 * (1 - inner**2) * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2))


FUNCTIONS: dict[str, Slope] = {
    "silu": (lambda x: x * _sigmoid(x), lambda x: _sigmoid(x) * (1 + x * (1 - _sigmoid(x)))),
    "gelu": (lambda x: x / 2 * (1 + _gelu_inner(x)), _gelu_slope),
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(np.float64)),
    "squared_relu": (lambda x: np.maximum(x, 0) ** 2, lambda x: 2 * np.maximum(x, 0)),
    "tanh": (np.tanh, lambda x: np.asarray(1 - np.tanh(x) ** 2)),
    "sigmoid": (_sigmoid, lambda x: _sigmoid(x) * (1 - _sigmoid(x))),
    "exp": (np.exp, np.exp),
    "scale": (lambda x: SCALE * x, lambda x: np.full_like(x, SCALE)),
}
"""Activation functions with their derivatives."""


def _function(call: Call) -> Slope:
    if call.function == "softcap":
        cap = float(call.op.options.get("softcap", CAP))
        return lambda x: np.asarray(cap * np.tanh(x / cap)), lambda x: np.asarray(1 - np.tanh(x / cap) ** 2)
    if call.function not in FUNCTIONS:
        raise Unsupported(f"op {call.op.name!r} applies {call.function!r}; known here: {', '.join(FUNCTIONS)}, softcap")
    return FUNCTIONS[call.function]


def activation(call: Call) -> tuple[Array, ...]:
    """A function of every element, or of every element and a number of its row."""
    if call.function in ("subtract", "divide"):
        axes = call.axes(call.op.reads[0])
        row = onto(call.values[1], call.axes(call.op.reads[1]), axes)
        return (call.values[0] - row if call.function == "subtract" else call.values[0] / row,)
    if call.function == "loss_product":
        return (loss_gradient(call, call.values[0]),)
    value, slope = _function(call)
    scale = 1 / np.sqrt(float(call.op.options.get("head_dim", 1)))
    x = call.values[0] * scale
    if call.is_backward:
        return (slope(x) * call.values[-1] * scale,)
    return (np.asarray(value(x)),)


def gated_activation(call: Call) -> tuple[Array, ...]:
    """f(gate) * up; with sigmoid, the second tensor is the gate of the first."""
    value, slope = _function(call)
    names = call.op.reads[:2]
    axes = call.axes(call.op.reads[-1] if call.is_backward else call.op.writes[0])
    first, second = (onto(call.values[i], call.axes(names[i]), axes) for i in (0, 1))
    is_second = call.function == "sigmoid"
    gate, other = (second, first) if is_second else (first, second)
    if not call.is_backward:
        return (np.asarray(value(gate) * other),)
    given = call.values[-1]
    parts = [given * slope(gate) * other, given * value(gate)]
    ordered = parts[::-1] if is_second else parts
    return tuple(summed(part, axes, call.axes(name)) for part, name in zip(ordered, names, strict=True))


def add(call: Call) -> tuple[Array, ...]:
    """The sum of all inputs, broadcast to the axes of the result."""
    axes = call.axes(call.op.writes[0])
    total = sum(onto(value, call.axes(name), axes) for value, name in zip(call.values, call.op.reads, strict=True))
    return (np.asarray(total),)


def norm(call: Call) -> tuple[Array, ...]:
    """x scaled to unit variance (rmsnorm: unit mean square) over the axes of its weight, times it, plus a bias."""
    op = call.op
    axes, over = call.axes(op.reads[0]), call.axes(op.reads[1])
    along = tuple(axes.index(axis) for axis in over)
    x, weight = call.values[0], onto(call.values[1], over, axes)
    centred = x - x.mean(along, keepdims=True) if call.function == "layernorm" else x
    deviation = np.sqrt((centred**2).mean(along, keepdims=True) + EPSILON)
    unit = centred / deviation
    if not call.is_backward:
        bias = onto(call.values[2], over, axes) if len(op.reads) > 2 else 0.0
        return (np.asarray(unit * weight + bias),)
    given = call.values[-1]
    d_unit = given * weight
    d_x = d_unit - unit * (d_unit * unit).mean(along, keepdims=True)
    if call.function == "layernorm":
        d_x = d_x - d_unit.mean(along, keepdims=True)
    parts = [d_x / deviation, summed(given * unit, axes, over), summed(given, axes, over)]
    return tuple(parts[: len(op.writes)])


def rope(call: Call) -> tuple[Array, ...]:
    """One input: its last axis rotated by position. Two: the first beside the last elements of the second."""
    op = call.op
    is_adjoint = op.phase.endswith("gradient")
    if len(op.writes if is_adjoint else op.reads) == 2:
        return _side_by_side(call) if not is_adjoint else _taken_apart(call)
    axes = call.axes(op.reads[0])
    sign = -1.0 if is_adjoint else 1.0
    half = call.values[0].shape[-1] // 2
    rates = 1.0 / 10.0 ** (np.arange(half) / max(half, 1))
    angle = onto(sign * call.where.positions[:, None] * rates, ("token", axes[-1]), axes)
    left, right, rest = np.split(call.values[0], [half, 2 * half], axis=-1)
    turned = (left * np.cos(angle) - right * np.sin(angle), left * np.sin(angle) + right * np.cos(angle), rest)
    return (np.concatenate(turned, axis=-1),)


def _side_by_side(call: Call) -> tuple[Array, ...]:
    axes, given = call.axes(call.op.writes[0]), call.axes(call.op.reads[1])
    first = call.values[0]
    tail = call.op.space[axes[-1]] - first.shape[-1]
    second = onto(call.values[1][..., -tail:], (*given[:-1], axes[-1]), axes)
    return (np.concatenate([first, np.broadcast_to(second, (*first.shape[:-1], tail))], axis=-1),)


def _taken_apart(call: Call) -> tuple[Array, ...]:
    axes, given = call.axes(call.op.reads[0]), call.values[0]
    kept, second = (call.axes(name) for name in call.op.writes)
    width = call.tensors[call.op.writes[0]].axes[kept[-1]]
    tail = summed(given[..., width:], axes, (*second[:-1], axes[-1]))
    padding = call.tensors[call.op.writes[1]].axes[second[-1]] - tail.shape[-1]
    return given[..., :width], np.pad(tail, [(0, 0)] * (tail.ndim - 1) + [(padding, 0)])


def softmax(call: Call) -> tuple[Array, ...]:
    """Scaled and masked softmax over keys, with a sink per head where the op reads one."""
    op = call.op
    axes = ("batch", "head", "token", "key")
    scale = 1 / np.sqrt(float(op.options.get("head_dim", 1)))
    if not call.is_backward:
        sinks = call.values[1] if len(op.reads) > 1 else None
        scores = onto(call.values[0], call.axes(op.reads[0]), axes) * scale
        return (onto(softmax_rows(call, scores, sinks), axes, call.axes(op.writes[0])),)
    weights, given = (onto(call.values[i], call.axes(op.reads[i]), axes) for i in (0, -1))
    shared = (weights * given).sum(-1)
    d_scores = onto(weights * (given - shared[..., None]) * scale, axes, call.axes(op.writes[0]))
    d_sinks = -((1 - weights.sum(-1)) * shared).sum((0, 2))
    return (d_scores, d_sinks)[: len(op.writes)]


def dropout(call: Call) -> tuple[Array, ...]:
    """x where the mask keeps it, scaled by what is kept on average; the mask is given."""
    rate = float(call.op.options.get("rate", 0.0))
    if call.is_backward:
        return (call.values[0] * call.values[-1] / (1 - rate),)
    assert call.mask is not None, f"{call.op.name} has no mask"
    return call.values[0] * call.mask / (1 - rate), call.mask


def cast(call: Call) -> tuple[Array, ...]:
    """The same numbers, once per result: formats are not rounded here."""
    return tuple(
        call.values[0].transpose([call.axes(call.op.reads[0]).index(axis) for axis in call.axes(name)])
        for name in call.op.writes
    )


def view(call: Call) -> tuple[Array, ...]:
    """The same elements under other axes: renamed, repeated where the result is longer, cut where it is shorter.

    A rope or a dropout that another kernel takes in is a view that keeps its function: dropout then is the identity.
    """
    op = call.op
    if call.function == "rope":
        return rope(call)
    if len(op.writes) == 2:
        return call.values[0], np.ones_like(call.values[0])
    source, target = (call.tensors[name].axes for name in (op.reads[0], op.writes[0]))
    is_adjoint = op.phase.endswith("gradient")
    if is_adjoint:
        order = [tuple(source).index(name) for name in _renamed(tuple(target), tuple(source))]
    else:
        names = _renamed(tuple(source), tuple(target))
        order = [names.index(axis) for axis in target]
    out = call.values[0].transpose(order)
    before = list(source.values())
    for i, (axis, extent) in enumerate(target.items()):
        if before[order[i]] != extent:
            out = _resized(out, i, op.space.get(axis, extent), is_adjoint=is_adjoint)
    return (out,)


def _renamed(source: tuple[str, ...], target: tuple[str, ...]) -> list[str]:
    """For each axis of `source` the axis of `target` that it becomes."""
    free = [axis for axis in target if axis not in source]
    out = []
    for axis in source:
        seen = axis if axis in target else SEEN_AS.get(axis, "")
        if seen not in target:
            seen = next(a for a in free if a not in SEEN_AS.values() or a not in out)
        if seen in free:
            free.remove(seen)
        out.append(seen)
    return out


def _resized(array: Array, axis: int, extent: int, *, is_adjoint: bool) -> Array:
    have = array.shape[axis]
    if have == extent:
        return array
    if not is_adjoint:
        return array.take(range(extent), axis) if have > extent else array.repeat(extent // have, axis)
    if have < extent:
        return np.pad(array, [(0, extent - have if i == axis else 0) for i in range(array.ndim)])
    shape = (*array.shape[:axis], extent, have // extent, *array.shape[axis + 1 :])
    total: Array = array.reshape(shape).sum(axis + 1)
    return total
