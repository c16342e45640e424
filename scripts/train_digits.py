"""Trains a small CNN on the digits of scikit-learn, quantizes it to int8, and writes src/aisys/rtl/digits.npz.

    pip install scikit-learn && python scripts/train_digits.py

numpy alone, one seed, float64: the same numbers on every run of one numpy. The last 360 of the 1,797 images are the
test set; they took no part in the training or in the choice of scales. Data: Alpaydin and Kaynak 1998, "Optical
Recognition of Handwritten Digits" (UCI), 8x8 images of 17 grey levels, as scikit-learn ships them.
"""

from pathlib import Path
from typing import Any

import numpy as np

from aisys.rtl import scale_to_fixed_point
from aisys.rtl.network import Layer, Network, save
from aisys.rtl.requantization import Requantization

OUT = Path(__file__).parents[1] / "src/aisys/rtl/digits.npz"
NUM_TEST, SEED, NUM_EPOCHS, BATCH = 360, 7, 40, 32
GREY = 16.0
"""The largest value of a pixel; pixels go into the array as they are, 0 to 16."""

SHAPES = (("conv1", (8, 1, 3, 3), 1, 1), ("conv2", (16, 8, 3, 3), 2, 1), ("dense", (10, 16, 4, 4), 1, 0))
"""Name, weight [out, in, h, w], stride and padding of each layer; ReLU after all but the last."""

Arrays = list[Any]


def patches(x: Any, kernel: int, stride: int, padding: int) -> Any:
    """[image, out_h, out_w, in, kernel, kernel] of x [image, in, h, w]."""
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (2, 3))
    return windows[:, :, ::stride, ::stride].transpose(0, 2, 3, 1, 4, 5)


def forward(weights: Arrays, biases: Arrays, x: Any) -> tuple[Arrays, Arrays]:
    """Patches and outputs [image, out, h, w] of every layer."""
    seen, outs = [], [x]
    for i, (_, shape, stride, padding) in enumerate(SHAPES):
        windows = patches(outs[-1], shape[2], stride, padding)
        out = np.tensordot(windows, weights[i], ((3, 4, 5), (1, 2, 3))) + biases[i]
        out = out.transpose(0, 3, 1, 2)
        seen.append(windows)
        outs.append(np.maximum(out, 0) if i < len(SHAPES) - 1 else out)
    return seen, outs


def gradients(weights: Arrays, biases: Arrays, x: Any, labels: Any) -> Arrays:
    """Of the mean cross entropy: by weights, then by biases."""
    seen, outs = forward(weights, biases, x)
    logits = outs[-1][:, :, 0, 0]
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    shares[np.arange(len(x)), labels] -= 1
    back = (shares / len(x))[:, :, None, None]
    of_weights, of_biases = [], []
    for i in reversed(range(len(SHAPES))):
        _, _, stride, padding = SHAPES[i]
        if i < len(SHAPES) - 1:
            back = back * (outs[i + 1] > 0)
        of_weights.insert(0, np.tensordot(back, seen[i], ((0, 2, 3), (0, 1, 2))))
        of_biases.insert(0, back.sum(axis=(0, 2, 3)))
        if i:
            back = spread(back, weights[i], outs[i].shape, stride, padding)
    return [*of_weights, *of_biases]


def spread(back: Any, weight: Any, shape: tuple[int, ...], stride: int, padding: int) -> Any:
    """The gradient by the input [image, in, h, w] of one convolution."""
    _, _, height, width = shape
    padded = np.zeros((shape[0], shape[1], height + 2 * padding, width + 2 * padding))
    for row in range(weight.shape[2]):
        for col in range(weight.shape[3]):
            part = np.tensordot(back, weight[:, :, row, col], ((1,), (0,))).transpose(0, 3, 1, 2)
            ends = (row + stride * back.shape[2], col + stride * back.shape[3])
            padded[:, :, row : ends[0] : stride, col : ends[1] : stride] += part
    return padded[:, :, padding : padding + height, padding : padding + width]


def shifted(x: Any, random: np.random.Generator) -> Any:
    """Each image moved by up to one pixel."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    rows, cols = random.integers(0, 3, (2, len(x)))
    return np.stack([image[:, r : r + 8, c : c + 8] for image, r, c in zip(padded, rows, cols, strict=True)])


def train(x: Any, labels: Any) -> tuple[Arrays, Arrays]:
    """Weights and biases, by Adam with a falling rate."""
    random = np.random.default_rng(SEED)
    values = [random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape) for _, shape, _, _ in SHAPES]
    values += [np.zeros(shape[0]) for _, shape, _, _ in SHAPES]
    first, second = [np.zeros_like(v) for v in values], [np.zeros_like(v) for v in values]
    half, step = len(SHAPES), 0
    for epoch in range(NUM_EPOCHS):
        rate = 2e-3 * 0.5 * (1 + np.cos(np.pi * epoch / NUM_EPOCHS))
        order = random.permutation(len(x))
        for start in range(0, len(x), BATCH):
            rows, step = order[start : start + BATCH], step + 1
            found = gradients(values[:half], values[half:], shifted(x[rows], random), labels[rows])
            for i, gradient in enumerate(found):
                first[i] = 0.9 * first[i] + 0.1 * gradient
                second[i] = 0.999 * second[i] + 0.001 * gradient**2
                scaled = first[i] / (1 - 0.9**step) / (np.sqrt(second[i] / (1 - 0.999**step)) + 1e-8)
                values[i] = values[i] * (1 - 1e-2 * rate) - rate * scaled
    return values[:half], values[half:]


def quantized(weights: Arrays, biases: Arrays, x: Any) -> tuple[Layer, ...]:
    """Layers in int8: scales per output channel of weights, one per tensor of activations, from the training images."""
    _, outs = forward(weights, biases, x)
    scale, layers = 1 / GREY, []
    for i, (name, _, stride, padding) in enumerate(SHAPES):
        largest = np.abs(weights[i]).max(axis=(1, 2, 3))
        of_weight = largest / 127
        of_out = float(np.abs(outs[i + 1]).max()) / 127
        fixed = [scale_to_fixed_point(float(scale * s / of_out)) for s in of_weight]
        bias = np.round(biases[i] / (scale * of_weight)).astype(np.int64)
        given = Requantization(
            bias=bias, multiplier=np.array([m for m, _ in fixed]), shift=np.array([s for _, s in fixed]),
            is_relu=i < len(SHAPES) - 1,
        )  # fmt: skip
        weight = np.round(weights[i] / of_weight[:, None, None, None]).astype(np.int8)
        layers.append(Layer(name=name, weight=weight, requantization=given, stride=stride, padding=padding))
        scale = of_out
    return tuple(layers)


def main() -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = digits.images.astype(np.int8)[:, None]
    labels = digits.target.astype(np.int64)
    known, unseen = slice(None, -NUM_TEST), slice(-NUM_TEST, None)
    weights, biases = train(images[known] / GREY, labels[known])
    right = forward(weights, biases, images[unseen] / GREY)[1][-1][:, :, 0, 0].argmax(axis=1) == labels[unseen]
    made = Network(
        name="digits", layers=quantized(weights, biases, images[known] / GREY), images=images[unseen],
        labels=labels[unseen], logits=np.zeros((NUM_TEST, 10), np.int8), accuracy_float=float(right.mean()),
        source="scripts/train_digits.py on scikit-learn's digits; the last 360 images are the test set",
    )  # fmt: skip
    logits = made.run(made.images)
    save(Network(**{**{f: getattr(made, f) for f in made.__slots__}, "logits": logits}), OUT)
    print(f"right of {NUM_TEST} unseen images: {made.accuracy_float:.4f} in float, {made.accuracy(logits):.4f} in int8")


if __name__ == "__main__":
    main()
