"""Small int8 networks on a generated array: every layer is a matmul that the circuit runs and requantizes.

A convolution becomes a product of patches and weights (im2col), which the host lays out; a dense layer is a convolution
whose kernel is as large as its input.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from aisys.errors import unknown_name
from aisys.ir import OpTable
from aisys.rtl.requantization import Requantization

Int8 = NDArray[np.int8]
Multiply = Callable[[Int8, Int8, Requantization], NDArray[Any]]
"""int8 a [m, k] times b [k, n], requantized to int8 [m, n]."""

NETWORKS = ("digits",)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """One convolution: weight int8 [out_channel, in_channel, kernel_h, kernel_w], and how its sums become int8."""

    name: str
    weight: Int8
    requantization: Requantization
    stride: int
    padding: int

    def patches(self, activations: Int8) -> Int8:
        """The left operand of activations [image, c, h, w]: [image x out_h x out_w, c x kernel_h x kernel_w]."""
        pad = (self.padding, self.padding)
        padded = np.pad(activations, ((0, 0), (0, 0), pad, pad))
        windows = sliding_window_view(padded, self.weight.shape[2:], (2, 3))[:, :, :: self.stride, :: self.stride]
        ordered = windows.transpose(0, 2, 3, 1, 4, 5)
        return np.ascontiguousarray(ordered).reshape(-1, self.matrix.shape[0])

    @property
    def matrix(self) -> Int8:
        """The right operand [in_channel x kernel_h x kernel_w, out_channel]."""
        return np.ascontiguousarray(self.weight.reshape(len(self.weight), -1).T)

    def out_side(self, side: int) -> int:
        """Height of the output for an input of height `side`."""
        return (side + 2 * self.padding - int(self.weight.shape[2])) // self.stride + 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """Layers in order, and the test set that came with them.

    images: int8 [image, channel, h, w]. labels, logits: int [image] and int8 [image, class], as the script that trained
    the network computed them. accuracy_float: share of right answers before quantization, on the same images.
    """

    name: str
    layers: tuple[Layer, ...]
    images: Int8
    labels: NDArray[np.int64]
    logits: Int8
    accuracy_float: float
    source: str

    def activations(self, images: Int8, multiply: Multiply | None = None) -> list[Int8]:
        """The output of every layer, int8 [image, channel, h, w]; the last one holds the logits. Default: numpy."""
        done = [images]
        for layer in self.layers:
            product = (multiply or numpy_product)(layer.patches(done[-1]), layer.matrix, layer.requantization)
            side = layer.out_side(done[-1].shape[-1])
            by_pixel = np.asarray(product, np.int8).reshape(len(images), side, side, len(layer.weight))
            done.append(np.ascontiguousarray(by_pixel.transpose(0, 3, 1, 2)))
        return done[1:]

    def run(self, images: Int8, multiply: Multiply | None = None) -> Int8:
        """Logits int8 [image, class]."""
        return self.activations(images, multiply)[-1].reshape(len(images), -1)

    def shapes(self, num_images: int) -> list[tuple[int, int, int]]:
        """m, k and n of each layer's matmul for so many images at once."""
        side, found = self.images.shape[-1], list[tuple[int, int, int]]()
        for layer in self.layers:
            side = layer.out_side(side)
            found.append((num_images * side * side, *layer.matrix.shape))
        return found

    def op_table(self, num_images: int) -> OpTable:
        """The matmuls of `shapes` as rows that every cost model prices."""
        m, k, n = np.array(self.shapes(num_images)).T
        dtypes = dict.fromkeys(("a_dtype", "b_dtype", "out_dtype", "math"), "int8")
        return OpTable.of("matmul", batch=1, m=m, n=n, k=k, b_is_weight=True, **dtypes)

    def accuracy(self, logits: Int8) -> float:
        """Share of right answers; equal logits count as the first class."""
        return float((logits.argmax(axis=1) == self.labels[: len(logits)]).mean())


def numpy_product(a: Int8, b: Int8, requantization: Requantization) -> Int8:
    """What the circuit computes, by numpy. Products of int8 are exact in float64, which has fast matmuls."""
    return requantization.apply((a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64))


@cache
def network(name: str = "digits") -> Network:
    """A network of this package: `digits`, 8x8 grey images of ten digits (scripts/train_digits.py).

    Raises UnknownName.
    """
    if name not in NETWORKS:
        raise unknown_name("network", name, NETWORKS)
    with np.load(Path(__file__).parent / f"{name}.npz") as file:
        names = [str(layer) for layer in file["layers"]]
        layers = tuple(_layer(file, layer) for layer in names)
        return Network(
            name=name, layers=layers, images=file["images"], labels=file["labels"].astype(np.int64),
            logits=file["logits"], accuracy_float=float(file["accuracy_float"]), source=str(file["source"]),
        )  # fmt: skip


def save(made: Network, path: Path) -> None:
    """Writes `made` as one file that `network` reads; the same network gives the same bytes."""
    arrays: dict[str, Any] = {"layers": np.array([layer.name for layer in made.layers])}
    for layer in made.layers:
        given = layer.requantization
        arrays |= {
            f"{layer.name}.weight": layer.weight, f"{layer.name}.bias": given.bias.astype(np.int32),
            f"{layer.name}.multiplier": given.multiplier.astype(np.uint16),
            f"{layer.name}.shift": given.shift.astype(np.uint8),
            f"{layer.name}.choices": np.array([layer.stride, layer.padding, given.is_relu], np.uint8),
        }  # fmt: skip
    np.savez_compressed(
        path, images=made.images, labels=made.labels.astype(np.uint8), logits=made.logits, source=made.source,
        accuracy_float=made.accuracy_float, **arrays,
    )  # fmt: skip


def _layer(file: Any, name: str) -> Layer:
    stride, padding, is_relu = (int(value) for value in file[f"{name}.choices"])
    bias, multiplier, shift = (file[f"{name}.{part}"].astype(np.int64) for part in ("bias", "multiplier", "shift"))
    return Layer(
        name=name, weight=file[f"{name}.weight"], stride=stride, padding=padding,
        requantization=Requantization(bias=bias, multiplier=multiplier, shift=shift, is_relu=bool(is_relu)),
    )  # fmt: skip
