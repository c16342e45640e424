"""The nine layers of EIE: their published shapes and densities, drawn at random and really run on its 64 elements.

Source: Han et al. 2016, "EIE: Efficient Inference Engine on Compressed Deep Neural Network", table of benchmarks.
Densities are printed to a whole percent of the weights, and so is the share of the work that is left, which narrows
them; what remains is 12 % of the work at 4 %. The non-zeros of a pruned network are less even than random ones, which
costs balance that is not seen here.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aisys.errors import BadInput
from aisys.frozen import FrozenMap
from aisys.kernel import interleaved_csc
from aisys.kernel.interleaved_csc import NUM_PES, Product

CLOCK_HZ = 800e6
"""Source: Han et al. 2016, table II, 45 nm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A matrix [rows, columns] and a vector, with the share of non-zeros in each. Raises BadInput outside 0 to 1."""

    rows: int
    columns: int
    weight_density: float
    activation_density: float

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1:
            raise BadInput(f"eie: a matrix of {self.rows} x {self.columns}; both are at least 1")
        for name, density in (("weights", self.weight_density), ("activations", self.activation_density)):
            if not 0 < density <= 1:
                raise BadInput(f"eie: the density of the {name} is {density:g}; give more than 0 and at most 1")

    def draw(self, seed: int = 0) -> tuple[NDArray[np.int8], NDArray[np.int8], NDArray[np.int64]]:
        """Weights of the columns that are multiplied at all, as many inputs that are not zero, and their places.

        Every weight is there with the probability of its density; the number of inputs is rounded.
        """
        random = np.random.default_rng(seed)
        active = max(1, round(self.columns * self.activation_density))
        is_stored = random.random((active, self.rows), dtype=np.float32) < self.weight_density
        weights = is_stored.view(np.int8) * random.integers(1, 8, (active, 1), dtype=np.int8)
        inputs = random.integers(1, 128, active, dtype=np.int8)
        return weights.T, inputs, np.sort(random.choice(self.columns, active, replace=False))

    def run(self, num_pes: int = NUM_PES, seed: int = 0) -> Product:
        """The product of what `draw` gives: outputs, actual cycles and balance."""
        weights, inputs, places = self.draw(seed)
        return interleaved_csc.multiply(weights, inputs, num_pes, places)


def printed(rows: int, columns: int, weight_percent: int, activation_density: float, work_percent: int) -> Layer:
    """A layer of the paper's table: in the middle of the weight densities that both rounded columns allow.

    >>> printed(4096, 4096, 4, 0.375, 2).weight_density          # 1.5 % of the work at least: 4 to 4.5 %
    0.0425
    """
    least = max(weight_percent - 0.5, (work_percent - 0.5) / activation_density)
    most = min(weight_percent + 0.5, (work_percent + 0.5) / activation_density)
    if least > most:
        raise BadInput(f"eie: no density of the weights rounds to {weight_percent} % and {work_percent} % of the work")
    return Layer(
        rows=rows, columns=columns, weight_density=(least + most) / 200, activation_density=activation_density
    )  # fmt: skip


LAYERS: FrozenMap[str, Layer] = FrozenMap(
    {
        "alex-6": printed(4096, 9216, 9, 0.351, 3),
        "alex-7": printed(4096, 4096, 9, 0.353, 3),
        "alex-8": printed(1000, 4096, 25, 0.375, 10),
        "vgg-6": printed(4096, 25088, 4, 0.183, 1),
        "vgg-7": printed(4096, 4096, 4, 0.375, 2),
        "vgg-8": printed(1000, 4096, 23, 0.411, 9),
        "nt-we": printed(600, 4096, 10, 1.0, 10),
        "nt-wd": printed(8791, 600, 11, 1.0, 11),
        "nt-lstm": printed(2400, 1201, 10, 1.0, 11),
    }
)
"""Rows, columns, and in percent weights, inputs and work that are left."""
