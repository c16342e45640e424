"""A network from images to logits on the circuit of one array, and what that takes."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from numpy.typing import NDArray

from aisys.cost import cost
from aisys.cost.generated_array.design import MemoryPort
from aisys.errors import BadInput
from aisys.machine import Device, device
from aisys.rtl.array import Array
from aisys.rtl.folder import machine_file
from aisys.rtl.network import Int8, Network
from aisys.rtl.requantization import Requantization


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRun:
    """What the circuit did with `num_images` images at once.

    layer_cycles: counted by the circuit, in the order of the layers. are_logits_equal: to those of numpy, bit for bit.
    images_per_s, energy_joule_per_image: by the cost model of the machine file, whose energies are assumed; the host
    that lays out patches is not counted.
    """

    network: str
    num_images: int
    layer_cycles: tuple[int, ...]
    model_cycles: int
    are_logits_equal: bool
    accuracy: float
    clock_hz: float
    images_per_s: float
    energy_joule_per_image: float

    @property
    def cycles(self) -> int:
        """Of all layers, which follow one another."""
        return sum(self.layer_cycles)


def run_network(
    array: Array, network: Network, num_images: int, *, port: MemoryPort, clock_hz: float, simulator: str = "fastest"
) -> NetworkRun:
    """The first `num_images` test images through the circuit, layer after layer.

    Raises BadInput for more images than the test set has, MissingExtra without the extra `rtl`.
    """
    if not 1 <= num_images <= len(network.images):
        raise BadInput(f"{num_images} images of {network.name} cannot run; give 1 to {len(network.images)}")
    counted, expected = list[int](), list[int]()

    def multiply(a: Int8, b: Int8, requantization: Requantization) -> NDArray[Any]:
        done = array.simulate(a, b, requantization, port=port, simulator=simulator)
        counted.append(done.cycles)
        expected.append(done.model_cycles)
        return done.values

    logits = network.run(network.images[:num_images], multiply)
    priced = cost(network.op_table(num_images), as_device(array, port, clock_hz))
    return NetworkRun(
        network=network.name, num_images=num_images, layer_cycles=tuple(counted), model_cycles=sum(expected),
        are_logits_equal=bool((logits == network.logits[:num_images]).all()), accuracy=network.accuracy(logits),
        clock_hz=clock_hz, images_per_s=num_images / float(priced.time_s.sum()),
        energy_joule_per_image=float(priced.energy_joule.sum()) / num_images,
    )  # fmt: skip


def as_device(array: Array, port: MemoryPort, clock_hz: float) -> Device:
    """The device that the machine file of `array` describes."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "machine.toml"
        path.write_text(machine_file(array.design, port, clock_hz, "assumed: the clock given"), encoding="utf-8")
        return device(str(path))
