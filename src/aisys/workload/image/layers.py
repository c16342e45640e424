"""A block over images while it is being written. Tensors have axes batch, channel, height and width."""

from collections.abc import Mapping
from dataclasses import dataclass

from aisys.frozen import FrozenMap
from aisys.ir.dtype import DTYPES, DType
from aisys.ir.graph import Block, Op, Option, Role, Tensor

Pair = tuple[int, int]
NO_OPTIONS: Mapping[str, Option] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What slides over an image: height and width, step, and rows and columns of zeros on each side.

    hangs: whether the last one may stand over the edge.
    """

    kernel: Pair
    stride: int = 1
    padding: int = 0
    hangs: bool = False

    def over(self, side: Pair) -> Pair:
        """Windows along each side of an image."""
        more = self.stride - 1 if self.hangs else 0
        room = (extent + 2 * self.padding + more for extent in side)
        high, wide = ((r - k) // self.stride + 1 for r, k in zip(room, self.kernel, strict=True))
        return high, wide


class Layers:
    """Collects the tensors and ops of one block.

    >>> from aisys.ir import DTYPES
    >>> layers = Layers("stem", 1, DTYPES["bf16"])
    >>> x = layers.image("x", 3, (224, 224))
    >>> y = layers.conv("y", x, 64, Window(kernel=(7, 7), stride=2, padding=3))
    >>> dict(layers.block((x,), (y,)).tensors["y"].axes)
    {'batch': 1, 'channel': 64, 'height': 112, 'width': 112}
    """

    def __init__(self, name: str, batch: int, dtype: DType) -> None:
        self.name, self.batch, self.dtype = name, batch, dtype
        self.sums_dtype = dtype if dtype.is_float else DTYPES["int32"]
        self._tensors: dict[str, Tensor] = {}
        self._ops: list[Op] = []

    def tensor(self, name: str, axes: Mapping[str, int], role: Role = "activation") -> str:
        """Declares a tensor and gives back its name."""
        self._tensors[name] = Tensor(name, FrozenMap(axes), self.dtype, role)
        return name

    def per_sum(self, name: str, axes: Mapping[str, int]) -> str:
        """Declares weights that meet sums (biases, norms), as wide as these, and gives back their name."""
        self._tensors[name] = Tensor(name, FrozenMap(axes), self.sums_dtype, "weight")
        return name

    def image(self, name: str, channels: int, side: Pair) -> str:
        """Declares a batch of images, or of feature maps."""
        return self.tensor(name, {"batch": self.batch, "channel": channels, "height": side[0], "width": side[1]})

    def axes(self, name: str) -> dict[str, int]:
        """Axes and extents of a declared tensor."""
        return dict(self._tensors[name].axes)

    def conv(self, out: str, x: str, channels: int, window: Window, *, groups: int = 1, has_bias: bool = False) -> str:
        """`out` = x convolved to so many channels."""
        given = self.axes(x)
        side = window.over((given["height"], given["width"]))
        weight = {
            "group": groups, "out_channel": channels // groups, "in_channel": given["channel"] // groups,
            "kernel_height": window.kernel[0], "kernel_width": window.kernel[1],
        }  # fmt: skip
        reads = [x, self.tensor(f"{out}.weight", weight, "weight")]
        if has_bias:
            reads.append(self.per_sum(f"{out}.bias", {"channel": channels}))
        space = {"batch": self.batch, **weight, "out_height": side[0], "out_width": side[1]}
        options = {"stride": window.stride, "padding": window.padding}
        return self.op("conv", reads, self.image(out, channels, side), space, options)

    def pool(self, out: str, x: str, function: str, window: Window) -> str:
        """`out`: the largest or the mean of every window of x, channel by channel."""
        given = self.axes(x)
        side = window.over((given["height"], given["width"]))
        space = {
            "batch": self.batch, "channel": given["channel"], "out_height": side[0], "out_width": side[1],
            "kernel_height": window.kernel[0], "kernel_width": window.kernel[1],
        }  # fmt: skip
        return self.op("pool", [x], self.image(out, given["channel"], side), space, {"function": function})

    def pointwise(self, kind: str, out: str, *reads: str, function: str = "", fuse: str = "") -> str:
        """`out`: every element of the first tensor, with those of the others; norms have a scale and a shift each."""
        axes = self.axes(reads[0])
        options = {name: text for name, text in (("function", function), ("fuse", fuse)) if text}
        weights = []
        if kind == "norm":
            per_channel = {"channel": axes["channel"]}
            weights = [self.per_sum(f"{out}.{name}", per_channel) for name in ("scale", "shift")]
        return self.op(kind, [*reads, *weights], self.tensor(out, axes), axes, options)

    def linear(self, out: str, x: str, features: int, *, has_bias: bool = True) -> str:
        """`out` = x of axes batch and feature, times a weight."""
        given = self.axes(x)
        weight = {"feature": given["feature"], "neuron": features}
        reads = [x, self.tensor(f"{out}.weight", weight, "weight")]
        if has_bias:
            reads.append(self.per_sum(f"{out}.bias", {"neuron": features}))
        made = self.tensor(f"{out}.neurons", {"batch": self.batch, "neuron": features})
        self.op("matmul", reads, made, {"batch": self.batch, **weight})
        return self.view(out, made, {"batch": self.batch, "feature": features})

    def product(self, out: str, m: int, n: int, k: int) -> str:
        """`out` = a given matrix times a weight: a row of a table of products. Gives back the name of the matrix."""
        a = self.tensor(f"{out}.a", {"batch": self.batch, "row": m, "feature": k})
        b = self.tensor(f"{out}.weight", {"feature": k, "neuron": n}, "weight")
        made = self.tensor(out, {"batch": self.batch, "row": m, "neuron": n})
        self.op("matmul", [a, b], made, {"batch": self.batch, "row": m, "neuron": n, "feature": k})
        return a

    def view(self, out: str, x: str, axes: Mapping[str, int]) -> str:
        """`out`: the elements of x under other axes."""
        return self.op("view", [x], self.tensor(out, axes), self.axes(x))

    def op(
        self, kind: str, reads: list[str], out: str, space: Mapping[str, int],
        options: Mapping[str, Option] = NO_OPTIONS,
    ) -> str:  # fmt: skip
        """Adds an op named after its output."""
        made = Op(
            name=out, kind=kind, space=FrozenMap(space), reads=tuple(reads), writes=(out,), options=FrozenMap(options)
        )
        self._ops.append(made)
        return out

    def block(self, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Block:
        """The finished block."""
        return Block(
            name=self.name, tensors=FrozenMap(self._tensors), ops=tuple(self._ops), inputs=inputs, outputs=outputs
        )
