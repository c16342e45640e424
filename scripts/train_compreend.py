"""Trains a small convolutional network on the handwritten digits of scikit-learn and writes it as int8 layers.

    pip install -e '.[measure]' && python scripts/train_compreend.py

Three 3 x 3 convolutions, two linear layers, ReLU between them. Every fifth image is for testing and is written beside
the weights; the others train, choose scales, and set the thresholds of predictive early negative detection: the
highest of a fixed list that costs at most half a point of their accuracy. Seeds are fixed, so that the same numpy
writes the same file; another linear algebra library may round differently.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.study.compreend import NETWORK, Network, classify, patches

Array = NDArray[Any]
CHANNELS = (1, 16, 32, 32)
WIDTHS = (128, 64, 10)
EPOCHS, BATCH, RATE, DECAY = 30, 32, 2e-3, 1e-4
SHARES = (0.0, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
"""Thresholds tried, as shares of the largest sum of the layer that its 7-bit outputs hold."""
ALLOWED_LOSS = 0.005


@dataclass
class Trained:
    """Weights (out, in) and biases of all layers, and Adam's moments."""

    values: list[Array]
    moments: list[Array]
    num_steps: int = 0


def start(random: np.random.Generator) -> Trained:
    """He initialisation."""
    extents = [(b, a * 9) for a, b in pairwise(CHANNELS)]
    extents += [(b, a) for a, b in pairwise(WIDTHS)]
    values: list[Array] = []
    for out, inner in extents:
        values += [random.standard_normal((out, inner)) * np.sqrt(2 / inner), np.zeros(out)]
    return Trained(values, [np.zeros_like(v) for v in values for _ in range(2)])


def forward(values: Sequence[Array], images: Array) -> tuple[Array, list[Array], list[Array]]:
    """Logits, the inputs (rows, k) of every layer, and every layer's sums (rows, n) with bias."""
    num_layers = len(values) // 2
    flow, inputs, sums = images, [], []
    for layer in range(num_layers):
        rows = patches(flow) if layer < len(CHANNELS) - 1 else flow.reshape(len(flow), -1)
        inputs.append(rows)
        sums.append(rows @ values[2 * layer].T + values[2 * layer + 1])
        flow = np.maximum(sums[-1], 0)
        flow = flow.transpose(0, 3, 1, 2) if flow.ndim == 4 else flow
    return sums[-1], inputs, sums


def gradients(values: Sequence[Array], images: Array, labels: Array) -> list[Array]:
    """Of the mean cross-entropy, in the order of `values`."""
    logits, inputs, sums = forward(values, images)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    shares[np.arange(len(labels)), labels] -= 1
    back, found = shares / len(labels), []
    for layer in range(len(inputs) - 1, -1, -1):
        flat = back.reshape(-1, back.shape[-1])
        found += [flat.sum(0), flat.T @ inputs[layer].reshape(len(flat), -1)]
        if layer:
            back = _input_gradient(back @ values[2 * layer], sums[layer - 1])
    return found[::-1]


def _input_gradient(back: Array, before: Array) -> Array:
    """The gradient of `before`, the sums of the layer below, from that of this layer's inputs."""
    if before.ndim == 2:
        return back * (before > 0)
    batch, height, width, channels = before.shape
    if back.ndim == 2:
        spread = back.reshape(batch, channels, height, width)
    else:
        spread = np.zeros((batch, channels, height, width))
        cells = back.reshape(batch, height - 2, width - 2, channels, 3, 3).transpose(0, 3, 4, 5, 1, 2)
        for y in range(3):
            for x in range(3):
                spread[:, :, y : y + height - 2, x : x + width - 2] += cells[:, :, y, x]
    return spread.transpose(0, 2, 3, 1) * (before > 0)


def train(images: Array, labels: Array) -> list[Array]:
    """Adam with decoupled decay of the weights, a rate that falls along half a cosine."""
    random = np.random.default_rng(0)
    state = start(random)
    total = EPOCHS * (len(images) // BATCH)
    for _ in range(EPOCHS):
        order = random.permutation(len(images))
        for begin in range(0, len(images) - BATCH + 1, BATCH):
            chosen = order[begin : begin + BATCH]
            rate = RATE * 0.5 * (1 + np.cos(np.pi * state.num_steps / total))
            _step(state, gradients(state.values, images[chosen], labels[chosen]), rate)
    return state.values


def _step(state: Trained, slopes: Sequence[Array], rate: float) -> None:
    state.num_steps += 1
    for i, slope in enumerate(slopes):
        first, second = state.moments[2 * i], state.moments[2 * i + 1]
        first += 0.1 * (slope - first)
        second += 0.001 * (slope**2 - second)
        step = first / (1 - 0.9**state.num_steps) / (np.sqrt(second / (1 - 0.999**state.num_steps)) + 1e-8)
        state.values[i] -= rate * (step + (DECAY * state.values[i] if slope.ndim == 2 else 0))


def rounded(values: Sequence[Array], images: Array) -> dict[str, Array]:
    """Weights in int8 with a scale per output, biases in units of the sums, and the factor from sums to 7-bit outputs.

    The factor is an integer over 2^24, so that the network runs in integers alone.
    """
    sums = forward(values, images / 16)[2]
    found: dict[str, Array] = {}
    input_step = 1 / 16
    for layer, exact in enumerate(values[::2]):
        steps = np.abs(exact).max(1) / 127
        found[f"weights_{layer}"] = np.rint(exact / steps[:, None]).astype(np.int8)
        found[f"bias_{layer}"] = np.rint(values[2 * layer + 1] / (steps * input_step)).astype(np.int32)
        output_step = max(float(sums[layer].max()), 1e-9) / 127
        found[f"factor_{layer}"] = np.rint(steps * input_step / output_step * 2**24).astype(np.int32)
        input_step = output_step
    return found


def thresholds(arrays: dict[str, Array], images: Array, labels: Array) -> Array:
    """One share for all layers: the highest that loses at most ALLOWED_LOSS of accuracy on these images."""
    best = 0.0
    plain = float((classify(Network(arrays, 0.0), images, "plain").labels == labels).mean())
    for share in SHARES:
        found = classify(Network(arrays, share), images, "predictive")
        accuracy = float((found.labels == labels).mean())
        print(f"share {share:6.2%}: accuracy {accuracy:.2%} of {plain:.2%}, saving {found.saved_share:.1%} (training)")
        if accuracy >= plain - ALLOWED_LOSS:
            best = share
    return np.array(best)


def main() -> None:
    """Train, round, choose, write."""
    drawn = import_module("sklearn.datasets").load_digits()
    images, labels = drawn.images[:, None], drawn.target
    is_test = np.arange(len(images)) % 5 == 0
    values = train(images[~is_test] / 16, labels[~is_test])
    logits = forward(values, images[is_test] / 16)[0]
    print(f"in double precision, on the test images: {(logits.argmax(1) == labels[is_test]).mean():.2%}")
    arrays = rounded(values, images[~is_test])
    share = thresholds(arrays, images[~is_test].astype(np.uint8), labels[~is_test])
    pixels, digits = images[is_test].astype(np.uint8), labels[is_test].astype(np.uint8)
    np.savez_compressed(NETWORK, **arrays, threshold_share=share, images=pixels, labels=digits)


if __name__ == "__main__":
    main()
