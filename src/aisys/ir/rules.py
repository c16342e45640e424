"""One rule per op kind: its flop, what backward must keep, its gradient ops, and its row in an op table.

Memory, recomputation, training and every cost model read this one table. Kinds, with what they read and write:

matmul           (a, b[, bias]) -> c. Contracts the axes that c lacks. options: math (format of the multiplier;
                 default the dtype of a), fuse and fuse_dim (ops with one label run as one kernel; that extent adds up)
grouped_matmul   (a, b) -> c. One matmul per index of axis `expert`, which only b and the space hold. option:
                 is_separate, as many matmuls of one shape and no kernel of its own, as the gradient of weights always
conv             (x, w[, bias]) -> y, a two-dimensional convolution; its axes and options stand in ir/convolution.py
attention        (q, k, v) -> out over axes batch token key head kv_head head_dim value_dim.
                 options: is_causal, window (keys seen; 0: all), page_size (tokens; 0: contiguous), is_backward
traversal        walks data; carries an AccessRecord
view             (x) -> y, the same elements under other axes; moves nothing and has no row
stream kinds     norm, activation, gated_activation, add, rope, softmax, dropout, embedding, cross_entropy, topk,
                 dispatch, combine, reduce, pool, cast, optimizer, conv_state: bytes past an ALU. options: function;
                 of a gradient op derivative_of, the function that it differentiates. gated_activation is
                 f(first) * second, with function sigmoid first * sigmoid(second); rope of two tensors puts them side
                 by side

All extents come from `op.space`, so a sharded op is the same op over a smaller space.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from aisys.errors import Unsupported, unknown_name
from aisys.frozen import FrozenMap
from aisys.ir import convolution
from aisys.ir.gradient import derived, gradient_name, stream_op
from aisys.ir.graph import Op, Option, ProgramPhase, Tensor

Tensors = Mapping[str, Tensor]
Row = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class OpRule:
    """What one op kind means. `saved`: tensors that backward reads; `gradients`: the ops that backward runs."""

    flop: Callable[[Op], int]
    saved: Callable[[Op], tuple[str, ...]]
    gradients: Callable[[Op, Tensors], tuple[Op, ...]]
    row: Callable[[Op, Tensors], Row | None]


def rule(kind: str) -> OpRule:
    """The rule of op kind `kind`. Raises UnknownName with the nearest kinds."""
    if kind not in RULES:
        raise unknown_name("op kind", kind, RULES)
    return RULES[kind]


def local_bytes(op: Op, tensor: Tensor) -> float:
    """Bytes of `tensor` that `op` touches: extents of the op's space where it has the axis."""
    elements = prod(op.space.get(axis, extent) for axis, extent in tensor.axes.items())
    return elements * tensor.dtype.bytes_per_element


def _extent(op: Op, axes: Iterable[str]) -> int:
    return prod(op.space[axis] for axis in axes)


# ---- matmul


def _matmul_flop(op: Op) -> int:
    return 2 * prod(op.space.values())


def _matmul_saved(op: Op) -> tuple[str, ...]:
    return op.reads[:2]


def _matmul_gradients(op: Op, tensors: Tensors) -> tuple[Op, ...]:
    a, b, *bias = op.reads
    dc = gradient_name(op.writes[0])
    is_weight = tensors[b].role == "weight"
    to_input, to_weight = _fused_along(op, "k"), _fused_along(op, "n")
    ops = []
    if tensors[a].role != "index":
        ops.append(derived(op, "input_gradient", (dc, b), (gradient_name(a),), to_input))
    phase: ProgramPhase = "weight_gradient" if is_weight else "input_gradient"
    ops.append(derived(op, phase, (a, dc), (gradient_name(b),), to_weight, suffix="weight" if is_weight else "b"))
    summed = replace(op, space=tensors[op.writes[0]].axes)
    ops += [stream_op(summed, "reduce", "weight_gradient", (dc,), (gradient_name(x),)) for x in bias]
    return tuple(ops)


def _fused_along(op: Op, dim: str) -> dict[str, Option]:
    """The options of `op`, of which a derived one that runs in one kernel with its like merges along `dim`."""
    return {**op.options, "fuse_dim": dim} if "fuse" in op.options else dict(op.options)


def matmul_axes(op: Op, tensors: Tensors) -> dict[str, tuple[str, ...]]:
    """The axes of a matmul by part: batch (in a, b and c), m (a and c), n (b and c), k (a and b).

    >>> # x{token, hidden} w{hidden, ffn} -> y{token, ffn}: m=(token,), n=(ffn,), k=(hidden,)
    """
    a, b, c = (set(tensors[name].axes) for name in (*op.reads[:2], op.writes[0]))
    parts: dict[str, list[str]] = {"batch": [], "m": [], "n": [], "k": []}
    for axis in op.space:
        in_a, in_b, in_c = axis in a, axis in b, axis in c
        key = "batch" if in_a and in_b and in_c else "k" if in_a and in_b else "m" if in_a and in_c else "n"
        parts[key].append(axis)
    return {name: tuple(axes) for name, axes in parts.items()}


def _matmul_row(op: Op, tensors: Tensors) -> Row:
    a, b, c = (tensors[name] for name in (*op.reads[:2], op.writes[0]))
    extents = {part: _extent(op, axes) for part, axes in matmul_axes(op, tensors).items()}
    return "matmul", {
        **extents, "b_is_weight": b.role in ("weight", "gradient") or a.role == "weight",
        "a_dtype": a.dtype.name, "b_dtype": b.dtype.name, "out_dtype": c.dtype.name,
        "math": str(op.options.get("math", a.dtype.name)),
    }  # fmt: skip


# ---- grouped matmul: rows are spread over experts, so `expert` multiplies weights and not flop


def _grouped_flop(op: Op) -> int:
    return 2 * prod(extent for axis, extent in op.space.items() if axis != "expert")


def _grouped_gradients(op: Op, tensors: Tensors) -> tuple[Op, ...]:
    a, b, *bias = op.reads
    dc = gradient_name(op.writes[0])
    to_input = derived(op, "input_gradient", (dc, b), (gradient_name(a),), _fused_along(op, "k"))
    along_n = _fused_along(op, "n")
    to_weight = derived(op, "weight_gradient", (a, dc), (gradient_name(b),), along_n, suffix="weight")
    summed = replace(op, space=FrozenMap({**tensors[op.writes[0]].axes, "expert": op.space["expert"]}))
    sums = (stream_op(summed, "reduce", "weight_gradient", (dc,), (gradient_name(x),)) for x in bias)
    return (to_input, to_weight, *sums)


def _grouped_row(op: Op, tensors: Tensors) -> Row:
    a, b, c = (tensors[name] for name in (*op.reads[:2], op.writes[0]))
    rest = [axis for axis in op.space if axis != "expert"]
    parts: dict[str, int] = {"m": 1, "n": 1, "k": 1}
    for axis in rest:
        in_c = axis in c.axes
        parts["k" if axis in a.axes and axis in b.axes else "m" if axis in a.axes and in_c else "n"] *= op.space[axis]
    formats = {
        "a_dtype": a.dtype.name, "b_dtype": b.dtype.name, "out_dtype": c.dtype.name,
        "math": str(op.options.get("math", a.dtype.name)),
    }  # fmt: skip
    groups = op.space["expert"]
    is_weight_gradient = "expert" in c.axes
    if is_weight_gradient or op.options.get("is_separate"):
        rows = "k" if is_weight_gradient else "m"
        each = {**parts, rows: max(1, parts[rows] // groups)}
        return "matmul", {"batch": groups, **each, "b_is_weight": True, **formats}
    return "grouped_matmul", {"groups": groups, **parts, **formats}


# ---- attention


def _attention_flop(op: Op) -> int:
    scores = _extent(op, ("batch", "token", "key", "head"))
    per_score = 2 * (op.space["head_dim"] + op.space["value_dim"])
    return scores * per_score * 5 // 2 if op.options.get("is_backward") else scores * per_score


def _attention_saved(op: Op) -> tuple[str, ...]:
    return (*op.reads, *op.writes)


def _attention_gradients(op: Op, tensors: Tensors) -> tuple[Op, ...]:
    out = op.writes[0]
    backward = Op(
        name=f"{op.name}.d_input", kind="attention", space=op.space, phase="input_gradient",
        reads=(*op.reads, out, gradient_name(out)), writes=tuple(gradient_name(x) for x in op.reads),
        options=FrozenMap({**op.options, "is_backward": True}),
    )  # fmt: skip
    return (backward,)


def _attention_row(op: Op, tensors: Tensors) -> Row:
    q, k = tensors[op.reads[0]], tensors[op.reads[1]]
    s = op.space
    return "attention", {
        "batch": s["batch"], "q_len": s["token"], "kv_len": s["key"], "q_heads": s["head"], "kv_heads": s["kv_head"],
        "head_dim": s["head_dim"], "value_dim": s["value_dim"], "window": int(op.options.get("window", 0)),
        "is_causal": bool(op.options.get("is_causal", True)), "is_backward": bool(op.options.get("is_backward", False)),
        "page_size": int(op.options.get("page_size", 0)), "q_dtype": q.dtype.name, "kv_dtype": k.dtype.name,
        "math": str(op.options.get("math", q.dtype.name)),
    }  # fmt: skip


# ---- streams: everything that moves bytes past an ALU


def _stream_row(op: Op, tensors: Tensors) -> Row:
    reads = [tensors[name] for name in op.reads]
    writes = [tensors[name] for name in op.writes]
    if op.kind == "embedding":
        reads = [*reads[:1], *writes]
    main = writes[0] if writes else reads[0]
    if op.kind in ("reduce", "cross_entropy"):
        main = reads[0]
    extents = {axis: op.space.get(axis, extent) for axis, extent in main.axes.items()}
    cols = prod(extents[axis] for axis in _row_axes(op, main))
    return "stream", {
        "read_bytes": sum(local_bytes(op, t) for t in reads), "write_bytes": sum(local_bytes(op, t) for t in writes),
        "flop": float(op.flop), "rows": prod(extents.values()) // cols, "cols": cols,
        "function": str(op.options.get("function", op.kind)), "dtype": main.dtype.name,
    }  # fmt: skip


def _row_axes(op: Op, main: Tensor) -> tuple[str, ...]:
    """The axes of one row: what a normalisation runs over; for other kinds everything that one token holds."""
    axes = tuple(main.axes)
    if op.kind in ("norm", "softmax", "cross_entropy", "topk"):
        return axes[-1:]
    leading = sum(1 for axis in axes if axis in ("batch", "token", "topk")) or 1
    return axes[leading:]


_FLOP_PER_ELEMENT = {
    "norm": 5, "activation": 8, "gated_activation": 6, "add": 1, "rope": 3, "softmax": 5, "dropout": 1, "embedding": 0,
    "cross_entropy": 5, "topk": 2, "pool": 1, "dispatch": 0, "combine": 2, "reduce": 1, "cast": 0, "optimizer": 12,
}  # fmt: skip
"""Scalar operations per element of the space. Source: assumed; counted from the formulas. They never bound a time."""


def _streaming(
    kind: str, saved: Callable[[Op], tuple[str, ...]], gradients: Callable[[Op, Tensors], tuple[Op, ...]]
) -> OpRule:
    per_element = _FLOP_PER_ELEMENT[kind]
    return OpRule(lambda op: per_element * prod(op.space.values()), saved, gradients, _stream_row)


def _none_saved(op: Op) -> tuple[str, ...]:
    return ()


def _no_gradients(op: Op, tensors: Tensors) -> tuple[Op, ...]:
    return ()


def _differentiable(name: str, tensors: Tensors) -> bool:
    return tensors[name].role not in ("index", "weight") and tensors[name].dtype.is_float


def _pointwise_gradients(kind: str, keeps: Callable[[Op], tuple[str, ...]]) -> Callable[[Op, Tensors], tuple[Op, ...]]:
    def gradients(op: Op, tensors: Tensors) -> tuple[Op, ...]:
        inputs = tuple(gradient_name(x) for x in op.reads if _differentiable(x, tensors))
        weights = tuple(gradient_name(x) for x in op.reads if tensors[x].role == "weight")
        reads = (*keeps(op), gradient_name(op.writes[0]))
        if not inputs:
            return ()
        return (stream_op(op, kind, "input_gradient", reads, (*inputs, *weights), f"{kind}_backward"),)

    return gradients


def _embedding_gradients(op: Op, tensors: Tensors) -> tuple[Op, ...]:
    weights = tuple(gradient_name(x) for x in op.reads if tensors[x].role == "weight")
    reads = (op.reads[0], gradient_name(op.writes[0]))
    return (stream_op(op, "embedding", "weight_gradient", reads, weights, "embedding_backward"),)


def _view_gradients(op: Op, tensors: Tensors) -> tuple[Op, ...]:
    source, target = op.reads[0], op.writes[0]
    back = Op(
        name=f"{op.name}.d", kind="view", space=tensors[source].axes, reads=(gradient_name(target),),
        writes=(gradient_name(source),), phase="input_gradient", options=op.options,
    )  # fmt: skip
    return (back,)


def _first_read(op: Op) -> tuple[str, ...]:
    return op.reads[:1]


def _first_two_reads(op: Op) -> tuple[str, ...]:
    return op.reads[:2]


def _second_read(op: Op) -> tuple[str, ...]:
    return op.reads[1:2]


def _all_writes(op: Op) -> tuple[str, ...]:
    return op.writes


def _all_reads(op: Op) -> tuple[str, ...]:
    return op.reads


def _first_write(op: Op) -> tuple[str, ...]:
    return op.writes[:1]


def _mask(op: Op) -> tuple[str, ...]:
    return op.writes[1:2]


# ---- traversal


def _traversal_flop(op: Op) -> int:
    if op.record is None:
        return 0
    counts = (n for p in op.record.phases for kind, n in p.op_counts.items() if kind.startswith("fp_"))
    return sum(counts)


def _traversal_row(op: Op, tensors: Tensors) -> Row:
    if op.record is None:
        raise Unsupported(f"op {op.name!r} has no access record; run it once on its data (aisys.kernel) to count one")
    return "traversal", {"record": op.record}


RULES: dict[str, OpRule] = {
    "matmul": OpRule(_matmul_flop, _matmul_saved, _matmul_gradients, _matmul_row),
    "grouped_matmul": OpRule(_grouped_flop, _first_read, _grouped_gradients, _grouped_row),
    "attention": OpRule(_attention_flop, _attention_saved, _attention_gradients, _attention_row),
    "conv": OpRule(_matmul_flop, _matmul_saved, convolution.gradients, convolution.row),
    "traversal": OpRule(_traversal_flop, _none_saved, _no_gradients, _traversal_row),
    "view": OpRule(lambda op: 0, _none_saved, _view_gradients, lambda op, tensors: None),
    "norm": _streaming("norm", _first_read, _pointwise_gradients("norm", _first_two_reads)),
    "activation": _streaming("activation", _first_read, _pointwise_gradients("activation", _first_read)),
    "gated_activation": _streaming(
        "gated_activation", _all_reads, _pointwise_gradients("gated_activation", _all_reads)
    ),
    "add": _streaming("add", _none_saved, _no_gradients),
    "rope": _streaming("rope", _none_saved, _pointwise_gradients("rope", _none_saved)),
    "softmax": _streaming("softmax", _first_write, _pointwise_gradients("softmax", _first_write)),
    "dropout": _streaming("dropout", _mask, _pointwise_gradients("dropout", _mask)),
    "embedding": _streaming("embedding", _first_read, _embedding_gradients),
    "cross_entropy": _streaming("cross_entropy", _first_read, _pointwise_gradients("cross_entropy", _all_reads)),
    "pool": _streaming("pool", _first_read, _pointwise_gradients("pool", _first_read)),
    "topk": _streaming("topk", _all_writes, _pointwise_gradients("topk", _all_writes)),
    "dispatch": _streaming("dispatch", _second_read, _pointwise_gradients("dispatch", _second_read)),
    "combine": _streaming("combine", _all_reads, _pointwise_gradients("combine", _all_reads)),
    "reduce": _streaming("reduce", _none_saved, _no_gradients),
    "cast": _streaming("cast", _none_saved, _no_gradients),
    "optimizer": _streaming("optimizer", _none_saved, _no_gradients),
}
"""The rules by kind. An outside package adds none: a new kind is a change of the language and lives here."""
