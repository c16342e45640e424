"""Convolutional networks from stages: one table per stage, in the order of the network.

| kind | fields | what it is |
|---|---|---|
| conv | channels kernel stride padding groups has_bias has_norm activation | one convolution |
| pool | function (max, mean) kernel stride padding; kernel 0: all | |
| basic | channels stride repeat | two 3x3 convolutions and a shortcut (He et al. 2016) |
| bottleneck | channels stride repeat | 1x1 to a quarter, 3x3, 1x1, and a shortcut (He et al. 2016; stride in the 3x3) |
| separable | channels stride repeat | 3x3 depthwise, then 1x1 (Howard et al. 2017) |
| inverted | channels expansion stride repeat | 1x1 out, 3x3 depthwise, 1x1 in (Sandler et al. 2018) |
| linear | features activation | a fully connected layer; images are flattened before |

Norms are batch norms with a scale and a shift; their running means are no parameters. Activations follow each norm.
Of repeated layers only the first has the stride.
"""

from collections.abc import Callable, Mapping
from typing import Any

from aisys.errors import BadInput, unknown_name
from aisys.frozen import FrozenMap
from aisys.ir.dtype import DTYPES
from aisys.ir.graph import Block, Graph, Segment
from aisys.ir.verify import verify
from aisys.workload.config_file import MAX_EXTENT, Fields
from aisys.workload.family import fields as common
from aisys.workload.image.layers import Layers, Window

MODEL_TYPE = "cnn"
FORMATS = {**common.TORCH_DTYPES, "int8": "int8"}
"""Formats of weights and feature maps by the names that configurations give them; sums of int8 are int32."""
POINT, THREE = Window(kernel=(1, 1)), Window(kernel=(3, 3), padding=1)
MAX_STAGES = 512

Axes = Mapping[str, int]


def image_graph(fields: Fields, batch: int) -> Graph:
    """The forward graph of the network whose stages `fields` hold, on `batch` images.

    Raises BadInput for a field that is missing or impossible, UnknownName for a kind of stage.
    """
    stages = fields.values.get("stages")
    if not isinstance(stages, list) or not 1 <= len(stages) <= MAX_STAGES:
        raise fields.refuse("stages", f"but it must be a list of 1 to {MAX_STAGES} tables")
    if isinstance(batch, bool) or not isinstance(batch, int) or not 1 <= batch <= MAX_EXTENT:
        raise BadInput(f"batch is {batch!r:.40}; it must be a whole number between 1 and {MAX_EXTENT}")
    size = fields.integer("image_size", high=65_536)
    axes: Axes = {"batch": batch, "channel": fields.integer("num_channels", default=3), "height": size, "width": size}
    segments: list[Segment] = []
    for number, values in enumerate(stages, 1):
        if not isinstance(values, Mapping):
            raise fields.refuse("stages", "but every stage must be a table")
        stage = Fields(values, f"{fields.where}: stage {number}", fields.name)
        kind = stage.text("kind")
        if kind not in STAGES:
            raise unknown_name(f"kind in {stage.where}", kind, STAGES)
        for position in range(stage.integer("repeat", default=1, high=1024)):
            block = _built(stage, f"{kind}{number}", axes, position, fields)
            axes = dict(block.tensors[block.outputs[0]].axes)
            if segments and segments[-1].block == block:
                segments[-1] = Segment(block, segments[-1].repeat + 1)
            else:
                segments.append(Segment(block))
    attributes: FrozenMap[str, Any] = FrozenMap(model_type=MODEL_TYPE, batch=batch, image_size=size)
    return verify(Graph(name=fields.name, segments=tuple(segments), attributes=attributes))


def _built(stage: Fields, name: str, axes: Axes, position: int, fields: Fields) -> Block:
    stored = DTYPES[fields.choice(FORMATS, "torch_dtype", "dtype", default="bfloat16")]
    layers = Layers(name, axes["batch"], stored)
    x = layers.tensor("x", axes)
    stride = 1 if position else stage.integer("stride", default=1, high=1024)
    y = STAGES[stage.text("kind")](layers, x, stage, stride)
    return layers.block((x,), (y,))


def _convolved(layers: Layers, out: str, x: str, channels: int, window: Window, *, groups: int = 1) -> str:
    """A convolution and its norm."""
    raw = layers.conv(f"{out}.conv", x, channels, window, groups=groups)
    return layers.pointwise("norm", out, raw, function="batchnorm", fuse=out)


def _active(layers: Layers, x: str, function: str = "relu", out: str = "") -> str:
    return layers.pointwise("activation", out or f"{x}.active", x, function=function, fuse=x)


def _at(window: Window, stride: int) -> Window:
    return Window(kernel=window.kernel, stride=stride, padding=window.padding)


def _window(layers: Layers, x: str, stage: Fields, stride: int) -> Window:
    """The stage's own window; it must fit the image."""
    side = (layers.axes(x).get("height", 0), layers.axes(x).get("width", 0))
    kernel = stage.integer("kernel", default=0, low=0)
    window = Window(kernel=(kernel, kernel) if kernel else side, stride=stride, padding=stage.integer(
        "padding", default=0, low=0))  # fmt: skip
    if min(window.over(side)) < 1:
        raise stage.refuse("kernel", f"larger than the {side[0]} x {side[1]} image that it meets; use a smaller one")
    return window


def _conv(layers: Layers, x: str, stage: Fields, stride: int) -> str:
    channels, groups = stage.integer("channels"), stage.integer("groups", default=1)
    stage.divides(groups, channels, "groups", "channels")
    stage.divides(groups, layers.axes(x)["channel"], "groups", "channels that come in")
    window = _window(layers, x, stage, stride)
    y = layers.conv("conv", x, channels, window, groups=groups, has_bias=stage.flag("has_bias", default=False))
    if stage.flag("has_norm", default=False):
        y = layers.pointwise("norm", "normed", y, function="batchnorm", fuse="normed")
    function = stage.text("activation", default="")
    return _active(layers, y, function) if function else y


def _pool(layers: Layers, x: str, stage: Fields, stride: int) -> str:
    window = _window(layers, x, stage, stride)
    return layers.pool("y", x, stage.choice({"max": "max", "mean": "mean"}, "function", default="max"), window)


def _shortcut(layers: Layers, x: str, y: str, stride: int) -> str:
    """y plus x, or plus x brought to the shape of y by a 1x1 convolution."""
    channels = layers.axes(y)["channel"]
    if stride > 1 or layers.axes(x)["channel"] != channels:
        x = _convolved(layers, "shortcut", x, channels, _at(POINT, stride))
    return _active(layers, layers.pointwise("add", "sum", y, x, fuse="sum"), out="y")


def _basic(layers: Layers, x: str, stage: Fields, stride: int) -> str:
    channels = stage.integer("channels")
    first = _active(layers, _convolved(layers, "first", x, channels, _at(THREE, stride)))
    return _shortcut(layers, x, _convolved(layers, "second", first, channels, THREE), stride)


def _bottleneck(layers: Layers, x: str, stage: Fields, stride: int) -> str:
    channels = stage.integer("channels")
    middle = stage.divides(4, channels, "4", "channels")
    narrow = _active(layers, _convolved(layers, "narrow", x, middle, POINT))
    deep = _active(layers, _convolved(layers, "deep", narrow, middle, _at(THREE, stride)))
    return _shortcut(layers, x, _convolved(layers, "wide", deep, channels, POINT), stride)


def _separable(layers: Layers, x: str, stage: Fields, stride: int) -> str:
    channels = layers.axes(x)["channel"]
    deep = _active(layers, _convolved(layers, "deep", x, channels, _at(THREE, stride), groups=channels))
    return _active(layers, _convolved(layers, "point", deep, stage.integer("channels"), POINT))


def _inverted(layers: Layers, x: str, stage: Fields, stride: int) -> str:
    channels, given = stage.integer("channels"), layers.axes(x)["channel"]
    wide = given * stage.integer("expansion", default=6, high=1024)
    y = x if wide == given else _active(layers, _convolved(layers, "wide", x, wide, POINT), "relu6")
    y = _active(layers, _convolved(layers, "deep", y, wide, _at(THREE, stride), groups=wide), "relu6")
    y = _convolved(layers, "narrow", y, channels, POINT)
    return layers.pointwise("add", "y", y, x) if stride == 1 and channels == given else y


def _linear(layers: Layers, x: str, stage: Fields, stride: int) -> str:
    axes = layers.axes(x)
    if "channel" in axes:
        num_features = axes["channel"] * axes["height"] * axes["width"]
        x = layers.view("flat", x, {"batch": layers.batch, "feature": num_features})
    y = layers.linear("y", x, stage.integer("features"))
    function = stage.text("activation", default="")
    return _active(layers, y, function) if function else y


STAGES: dict[str, Callable[[Layers, str, Fields, int], str]] = {
    "conv": _conv, "pool": _pool, "basic": _basic, "bottleneck": _bottleneck, "separable": _separable,
    "inverted": _inverted, "linear": _linear,
}  # fmt: skip
