"""A whole network on one FPGA, a stage of hardware per layer, images streaming from stage to stage.

A layer of `num_vectors` products [k] x [k, n] is folded onto `num_inputs` x `num_outputs` multipliers, which start a
new group of products every cycle: cycles = num_vectors x k / num_inputs x n / num_outputs. The slowest stage sets the
interval between images. hls4ml's reuse factor is k n / (num_inputs num_outputs); FINN's SIMD and PE are num_inputs and
num_outputs. Weights stay on the chip. Not modelled: residual branches, thresholds, and the host that feeds images.
Source: Umuroglu et al. 2017 (FINN); Blott et al. 2018 (FINN-R).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from aisys.cost.fpga.resources import Resources, available, memory, multipliers, sum_luts
from aisys.errors import BadInput, DoesNotFit, Unsupported
from aisys.machine import Device, Fpga, list_devices
from aisys.machine import device as device_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer: `num_vectors` products of [k] and [k, n] per image; a dense layer has one.

    num_rows: rows of the output image. num_kernel_rows of num_in_rows rows of the input are needed for the first one.
    row_elements: elements of one row of the input (columns x channels), of which num_kernel_rows are kept.
    """

    name: str
    k: int
    n: int
    num_vectors: int = 1
    num_rows: int = 1
    num_kernel_rows: int = 1
    num_in_rows: int = 1
    row_elements: int = 0
    weight_bits: int = 8
    activation_bits: int = 8

    def __post_init__(self) -> None:
        for name in ("k", "n", "num_vectors", "num_rows", "num_kernel_rows", "num_in_rows", "weight_bits"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name}={getattr(self, name)} of layer {self.name} must be at least 1")

    @property
    def macs(self) -> int:
        """Multiply-accumulates per image."""
        return self.num_vectors * self.k * self.n

    def cycles(self, num_inputs: int, num_outputs: int) -> int:
        """Cycles per image on so many multipliers: one group of products starts every cycle."""
        return self.num_vectors * ceil(self.k / num_inputs) * ceil(self.n / num_outputs)


def convolution(
    name: str, *, side: int, channels: tuple[int, int], kernel: int, stride: int = 1, padding: int = 0
) -> Layer:
    """The layer of a square convolution on a square image of `side`; channels: in and out.

    >>> convolution("conv", side=32, channels=(3, 64), kernel=3).num_vectors
    900
    """
    padded = side + 2 * padding
    rows = (padded - kernel) // stride + 1
    return Layer(
        name=name, k=channels[0] * kernel**2, n=channels[1], num_vectors=rows**2, num_rows=rows,
        num_kernel_rows=kernel, num_in_rows=padded, row_elements=padded * channels[0],
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One layer as hardware: num_inputs x num_outputs multipliers, its cycles per image, and what it takes."""

    layer: Layer
    num_inputs: int
    num_outputs: int
    cycles: int
    resources: Resources

    @property
    def num_products(self) -> int:
        """Multiplications per cycle."""
        return self.num_inputs * self.num_outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataflow:
    """A network as stages on one FPGA.

    interval_cycles: between images. latency_cycles: of one image through empty stages, without the host.
    """

    stages: tuple[Stage, ...]
    resources: Resources
    clock_hz: float

    @property
    def interval_cycles(self) -> int:
        """Of the slowest stage."""
        return max(stage.cycles for stage in self.stages)

    @property
    def latency_cycles(self) -> int:
        """Of one image, from its first pixel to its last result."""
        return latency_cycles([(stage.layer, stage.cycles) for stage in self.stages])

    @property
    def images_per_s(self) -> float:
        """At the clock of the device, which is assumed."""
        return self.clock_hz / self.interval_cycles


def latency_cycles(stages: Sequence[tuple[Layer, int]]) -> int:
    """Cycles of one image through stages of so many cycles each, which start as soon as their first rows are there.

    A stage begins when the rows of its first window have come; its last row of outputs needs the last row of inputs.
    """
    begin = end = 0.0
    for layer, cycles in stages:
        share = min(1.0, layer.num_kernel_rows / layer.num_in_rows)
        begin += (end - begin) * share
        end = max(begin + cycles, end + cycles / layer.num_rows)
    return ceil(end)


def fold(layer: Layer, device: Device, num_inputs: int, num_outputs: int, num_dsps: int | None = None) -> Stage:
    """`layer` on num_inputs x num_outputs multipliers; num_dsps: the most DSP blocks, default all of the device.

    Raises BadInput for more multipliers than the layer has products, Unsupported for a device that is no FPGA.
    """
    if not (1 <= num_inputs <= layer.k and 1 <= num_outputs <= layer.n):
        raise BadInput(
            f"{num_inputs} x {num_outputs} multipliers for layer {layer.name}; give 1 to {layer.k} x 1 to {layer.n}"
        )
    fpga = fpga_of(device)
    bits = max(layer.weight_bits, layer.activation_bits)
    most = int(fpga.num_dsps) if num_dsps is None else num_dsps
    words = ceil(layer.k / num_inputs) * ceil(layer.n / num_outputs)
    width = num_inputs * layer.activation_bits
    window = layer.num_kernel_rows * layer.row_elements * layer.activation_bits
    sums = sum_luts(num_inputs, num_outputs, layer.weight_bits + layer.activation_bits, layer.k)
    return Stage(
        layer=layer, num_inputs=num_inputs, num_outputs=num_outputs, cycles=layer.cycles(num_inputs, num_outputs),
        resources=multipliers(fpga, num_inputs * num_outputs, most, bits)
        + memory(fpga, words, num_inputs * num_outputs * layer.weight_bits)
        + memory(fpga, ceil(window / width), width)
        + Resources(luts=sums, dsps=0, block_memories=0),
    )  # fmt: skip


def dataflow(layers: Sequence[Layer], device: Device, *, interval_cycles: int | None = None) -> Dataflow:
    """The stages with the fewest multipliers that keep `interval_cycles`; without it, the shortest interval that fits.

    Multipliers per layer divide its k and n. Raises DoesNotFit with what is short and the nearest that fits.
    """
    if not layers:
        raise BadInput("a network without layers has no stages; give at least one layer")
    slowest = _shortest(layers, device)
    if interval_cycles is None:
        if slowest is None:
            raise _no_room(layers, device)
        return slowest
    made = _keeping(layers, device, interval_cycles)
    there = available(fpga_of(device))
    if made is None or not made.resources.fits(there):
        if slowest is None:
            raise _no_room(layers, device)
        largest = max(layers, key=lambda layer: layer.num_vectors)
        short = f"is less than the {largest.num_vectors:,} vectors of {largest.name}"
        if made is not None:
            short = f"needs {made.resources.missing(there)}"
        raise DoesNotFit(
            f"an image every {interval_cycles:,} cycles {short} on {device.name}; "
            f"every {slowest.interval_cycles:,} cycles is the fastest that fits"
        )
    return made


def fpga_of(device: Device) -> Fpga:
    """The architecture of `device`. Raises Unsupported where it is no FPGA."""
    if not isinstance(device.architecture, Fpga):
        raise Unsupported(f"{device.name} is no FPGA; give one of {', '.join(_fpgas())}")
    return device.architecture


def _keeping(layers: Sequence[Layer], device: Device, interval_cycles: int) -> Dataflow | None:
    """The stages with the fewest multipliers that keep the interval; None where a layer cannot."""
    fpga = fpga_of(device)
    left, stages = int(fpga.num_dsps), list[Stage]()
    for layer in layers:
        choices = [
            (inputs * outputs, outputs, inputs)
            for inputs in _divisors(layer.k)
            for outputs in _divisors(layer.n)
            if layer.cycles(inputs, outputs) <= interval_cycles
        ]
        if not choices:
            return None
        _, outputs, inputs = min(choices)
        stage = fold(layer, device, inputs, outputs, left)
        left -= stage.resources.dsps
        stages.append(stage)
    total = sum((stage.resources for stage in stages), Resources(luts=0, dsps=0, block_memories=0))
    return Dataflow(stages=tuple(stages), resources=total, clock_hz=float(fpga.clock_hz))


def _shortest(layers: Sequence[Layer], device: Device) -> Dataflow | None:
    """The shortest interval that fits, by halving over all cycle counts that a layer can have."""
    there = available(fpga_of(device))
    counts = sorted({
        layer.cycles(inputs, outputs)
        for layer in layers for inputs in _divisors(layer.k) for outputs in _divisors(layer.n)
    })  # fmt: skip
    best, low, high = None, 0, len(counts) - 1
    while low <= high:
        middle = (low + high) // 2
        made = _keeping(layers, device, counts[middle])
        if made is not None and made.resources.fits(there):
            best, high = made, middle - 1
        else:
            low = middle + 1
    return best


def _no_room(layers: Sequence[Layer], device: Device) -> DoesNotFit:
    """Why not even one multiplier per layer fits, and the smallest FPGA of the catalogue that has the room."""
    least = sum((fold(layer, device, 1, 1).resources for layer in layers), Resources(luts=0, dsps=0, block_memories=0))
    short = least.missing(available(fpga_of(device)))
    others = [device_of(name) for name in _fpgas()]
    fitting = [other for other in others if other.name != device.name and _shortest_exists(layers, other)]
    nearest = min(fitting, key=lambda other: fpga_of(other).num_block_memories, default=None)
    advice = f"{nearest.name} has the room" if nearest else "cut the network or take narrower weights"
    return DoesNotFit(f"the layers need {short} on {device.name} with one multiplier each; {advice}")


def _shortest_exists(layers: Sequence[Layer], device: Device) -> bool:
    least = sum((fold(layer, device, 1, 1).resources for layer in layers), Resources(luts=0, dsps=0, block_memories=0))
    return least.fits(available(fpga_of(device)))


def _fpgas() -> list[str]:
    return [name for name in list_devices() if isinstance(device_of(name).architecture, Fpga)]


def _divisors(extent: int) -> list[int]:
    return [value for value in range(1, extent + 1) if extent % value == 0]


def with_bits(layers: Sequence[Layer], weight_bits: int, activation_bits: int) -> tuple[Layer, ...]:
    """The layers in another precision."""
    return tuple(replace(layer, weight_bits=weight_bits, activation_bits=activation_bits) for layer in layers)
