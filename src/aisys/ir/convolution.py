"""Two-dimensional convolution: its extents, its gradient ops and its row in an op table.

x: batch, channel, height, width. w: group, out_channel, in_channel, kernel_height, kernel_width, channels per group.
y: batch, channel, height, width. The space holds batch, group, out_channel, in_channel, out_height, out_width,
kernel_height, kernel_width. options: stride (default 1), padding (rows and columns of zeros on each side, default 0),
math. The last window may hang over the edge of x by less than a stride.

The rows of gradients have the multiply-accumulates and the bytes of the operands of forward; that of the input's
gradient, which is a convolution of dy with w, has its channels swapped.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

from aisys.errors import InvalidGraph
from aisys.ir.gradient import derived, gradient_name, stream_op
from aisys.ir.graph import Op, Tensor

Tensors = Mapping[str, Tensor]

SPACE = (
    "batch", "group", "out_channel", "in_channel", "out_height", "out_width", "kernel_height", "kernel_width",
)  # fmt: skip


def gradients(op: Op, tensors: Tensors) -> tuple[Op, ...]:
    """Backward: the input's gradient where x has one, the weight's, and the sum over a bias."""
    x, w, *bias = op.reads
    dy = gradient_name(op.writes[0])
    ops = []
    if tensors[x].role != "index":
        ops.append(derived(op, "input_gradient", (dy, w), (gradient_name(x),), op.options))
    ops.append(derived(op, "weight_gradient", (x, dy), (gradient_name(w),), op.options, suffix="weight"))
    summed = replace(op, space=tensors[op.writes[0]].axes)
    ops += [stream_op(summed, "reduce", "weight_gradient", (dy,), (gradient_name(b),)) for b in bias]
    return tuple(ops)


def row(op: Op, tensors: Tensors) -> tuple[str, dict[str, Any]]:
    """The row of table conv."""
    s = op.space
    a, b, out = (tensors[name] for name in (*op.reads[:2], op.writes[0]))
    channels, stride = (s["out_channel"], s["in_channel"]), int(op.options.get("stride", 1))
    if op.phase == "input_gradient":
        channels, stride = (s["in_channel"], s["out_channel"]), 1
    return "conv", {
        "batch": s["batch"], "groups": s["group"], "out_channels": channels[0], "in_channels": channels[1],
        "out_h": s["out_height"], "out_w": s["out_width"], "kernel_h": s["kernel_height"],
        "kernel_w": s["kernel_width"], "stride": stride, "a_dtype": a.dtype.name, "b_dtype": b.dtype.name,
        "out_dtype": out.dtype.name, "math": str(op.options.get("math", a.dtype.name)),
    }  # fmt: skip


def verify(op: Op, tensors: Tensors) -> None:
    """Raises InvalidGraph where the extents of a forward convolution do not belong together."""
    missing = [axis for axis in SPACE if axis not in op.space]
    if missing:
        raise InvalidGraph(f"op {op.name!r} is a conv without axis {missing[0]!r}; it needs {', '.join(SPACE)}")
    if op.phase not in ("forward", "recompute"):
        return
    x, w, y = (tensors[name].axes for name in (*op.reads[:2], op.writes[0]))
    s, stride, padding = op.space, int(op.options.get("stride", 1)), int(op.options.get("padding", 0))
    if stride < 1 or padding < 0:
        raise InvalidGraph(f"op {op.name!r} has stride {stride} and padding {padding}; use at least 1 and at least 0")
    of_weight = tuple(s[axis] for axis in SPACE if axis in w)
    pairs = {
        "channels in": (x.get("channel"), s["group"] * s["in_channel"]),
        "channels out": (y.get("channel"), s["group"] * s["out_channel"]),
        "rows out": (y.get("height"), s["out_height"]), "columns out": (y.get("width"), s["out_width"]),
        "weights": (prod(w.values()), prod(of_weight)),
    }  # fmt: skip
    for what, (held, needed) in pairs.items():
        if held != needed:
            raise InvalidGraph(f"op {op.name!r} has {needed} {what} by its space, but {held} in its tensor")
    for side in ("height", "width"):
        room, kernel, last = x[side] + 2 * padding, s[f"kernel_{side}"], (s[f"out_{side}"] - 1) * stride
        if kernel > room or last >= room - kernel + stride:
            raise InvalidGraph(
                f"op {op.name!r} puts {s[f'out_{side}']} windows of {kernel} at stride {stride} on a padded {side} of "
                f"{room}; use at most {max((room - kernel + stride - 1) // stride, 0) + 1}, of at most {room}"
            )
