"""Cycles that early negative detection saves on a real int8 network, in accurate and in predictive mode.

Published: Kim et al. 2022, "ComPreEND", IEEE Transactions on Computers, abstract: 20.5 % faster in accurate and 29.3 %
in predictive mode, over networks and an accelerator that the abstract does not describe. Here: five layers trained on
handwritten digits by scripts/train_compreend.py, run digit by digit on 360 test images. A saving may be 6 points off,
and prediction may cost 1 point of accuracy. Outputs are counted as if each stopped alone. Nothing is calibrated.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aisys.kernel import bit_serial
from aisys.study.outcome import Outcome, Row

Array = NDArray[Any]
Mode = Literal["plain", "accurate", "predictive"]

NETWORK = Path(__file__).with_suffix(".npz")
"""Weights, biases and factors of the layers, the threshold, and the test images with their labels (Alpaydin and Kaynak
1998, Optical Recognition of Handwritten Digits, UCI, CC BY 4.0)."""

SOURCE = 'Kim et al. 2022, "ComPreEND", IEEE Transactions on Computers (abstract)'
PUBLISHED_SPEED_UP = {"accurate": 1.205, "predictive": 1.293}
POINTS, ACCURACY_POINTS = 6.0, 1.0

NUM_CONVOLUTIONS, NUM_LAYERS = 3, 5
FACTOR_BITS, LARGEST_OUTPUT = 24, 127


@dataclass(frozen=True, eq=False)
class Network:
    """Three 3 x 3 convolutions and two linear layers in integers.

    arrays: by layer i, `weights_i` (out, in), `bias_i` and `factor_i`, which brings sums to outputs of 7 bits, over
    2^24. threshold_share: where prediction stops, as a share of the sum that gives the largest output.
    """

    arrays: Mapping[str, Array]
    threshold_share: float


@dataclass(frozen=True, eq=False)
class Classified:
    """logits: (image, class). cycles and full_cycles: of all outputs, as run and without detection."""

    logits: Array
    cycles: int
    full_cycles: int

    @property
    def labels(self) -> Array:
        """The class of each image."""
        return np.asarray(self.logits.argmax(1))

    @property
    def saved_share(self) -> float:
        """Of the cycles of all layers, the last included, which has no ReLU and never stops."""
        return 1 - self.cycles / self.full_cycles


def classify(network: Network, images: Array, mode: Mode) -> Classified:
    """Runs every layer digit by digit. images: (batch, 1, 8, 8), 0 to 16."""
    flow, cycles, full = images, 0, 0
    for layer in range(NUM_LAYERS):
        weights, bias, factor = (network.arrays[f"{name}_{layer}"] for name in ("weights", "bias", "factor"))
        rows = patches(flow) if layer < NUM_CONVOLUTIONS else flow.reshape(len(flow), -1)
        is_last = layer == NUM_LAYERS - 1
        share = {"plain": -np.inf, "accurate": 0.0, "predictive": network.threshold_share}[mode]
        largest_sum = LARGEST_OUTPUT * 2.0**FACTOR_BITS / np.maximum(factor, 1)
        done = bit_serial.run(
            rows.reshape(-1, rows.shape[-1]), weights, bias, threshold=-np.inf if is_last else share * largest_sum
        )
        cycles, full = cycles + int(done.cycles.sum()), full + done.cycles.size * done.num_full_cycles
        if is_last:
            return Classified(done.sums, cycles, full)
        rounded = (done.relu.astype(np.int64) * factor + 2 ** (FACTOR_BITS - 1)) >> FACTOR_BITS
        flow = np.minimum(rounded, LARGEST_OUTPUT).astype(np.uint8).reshape(*rows.shape[:-1], -1)
        flow = flow.transpose(0, 3, 1, 2) if flow.ndim == 4 else flow
    raise AssertionError("the last layer returns")


def patches(images: Array) -> Array:
    """(batch, channel, y, x) to (batch, y - 2, x - 2, channel * 9): what a 3 x 3 convolution multiplies."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(2, 3))
    batch, channels, height, width = windows.shape[:4]
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(batch, height, width, channels * 9)


def run() -> Outcome:
    """Two savings, equality of the accurate mode, and the accuracy of the predictive one."""
    with np.load(NETWORK) as file:
        arrays = {name: file[name] for name in file.files}
    network = Network(arrays, float(arrays["threshold_share"]))
    images, labels = arrays["images"], arrays["labels"]
    modes: tuple[Mode, ...] = ("plain", "accurate", "predictive")
    plain, accurate, predictive = (classify(network, images, mode) for mode in modes)
    rows = [
        _saving("accurate", accurate),
        _saving("predictive", predictive),
        Row(
            quantity="accurate mode: logits equal to the plain network's (%)",
            ours=100 * float((accurate.logits == plain.logits).mean()), published=100.0, tolerance=0.0,
        ),
        _accuracy(100 * float((predictive.labels == labels).mean()), 100 * float((plain.labels == labels).mean())),
    ]  # fmt: skip
    return Outcome(name="compreend", source=SOURCE, rows=tuple(rows))


def _saving(mode: str, done: Classified) -> Row:
    published = 100 * (1 - 1 / PUBLISHED_SPEED_UP[mode])
    quantity = f"{mode} mode: cycles saved (%)"
    return Row(quantity=quantity, ours=100 * done.saved_share, published=published, tolerance=POINTS / published)


def _accuracy(predictive: float, plain: float) -> Row:
    """The plain network stands in for the publication, whose abstract gives no accuracy."""
    quantity = "predictive mode: accuracy on 360 test digits beside the plain network's (%)"
    return Row(quantity=quantity, ours=predictive, published=plain, tolerance=ACCURACY_POINTS / plain)
