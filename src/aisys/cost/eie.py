"""The nine layers of EIE: their published shapes and densities, drawn at random and really run on its 64 elements.

Source: Han et al. 2016, "EIE: Efficient Inference Engine on Compressed Deep Neural Network", table of benchmarks.
Densities are printed to a whole percent of the weights, which is 12 % of the work at 4 %; the non-zeros of a pruned
network are less even than random ones, which costs balance that is not seen here.
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

    def draw(self, seed: int = 0) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
        """Weights of the columns that are multiplied at all, and as many inputs that are not zero.

        Every weight is there with the probability of its density; the number of inputs is rounded.
        """
        random = np.random.default_rng(seed)
        active = max(1, round(self.columns * self.activation_density))
        is_stored = random.random((active, self.rows), dtype=np.float32) < self.weight_density
        weights = is_stored.view(np.int8) * random.integers(1, 8, (active, 1), dtype=np.int8)
        return weights.T, random.integers(1, 128, active, dtype=np.int8)

    def run(self, num_pes: int = NUM_PES, seed: int = 0) -> Product:
        """The product of what `draw` gives: outputs, actual cycles and balance."""
        weights, inputs = self.draw(seed)
        return interleaved_csc.run(interleaved_csc.encode(weights, num_pes), inputs)


LAYERS: FrozenMap[str, Layer] = FrozenMap(
    {
        "alex-6": Layer(rows=4096, columns=9216, weight_density=0.09, activation_density=0.351),
        "alex-7": Layer(rows=4096, columns=4096, weight_density=0.09, activation_density=0.353),
        "alex-8": Layer(rows=1000, columns=4096, weight_density=0.25, activation_density=0.375),
        "vgg-6": Layer(rows=4096, columns=25088, weight_density=0.04, activation_density=0.183),
        "vgg-7": Layer(rows=4096, columns=4096, weight_density=0.04, activation_density=0.375),
        "vgg-8": Layer(rows=1000, columns=4096, weight_density=0.23, activation_density=0.411),
        "nt-we": Layer(rows=600, columns=4096, weight_density=0.10, activation_density=1.0),
        "nt-wd": Layer(rows=8791, columns=600, weight_density=0.11, activation_density=1.0),
        "nt-lstm": Layer(rows=2400, columns=1201, weight_density=0.10, activation_density=1.0),
    }
)
