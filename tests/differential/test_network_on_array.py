"""The digits network on generated arrays: pixels to logits, bit for bit, in the cycles of the model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aisys.cost import cost
from aisys.errors import BadInput, UnknownName
from aisys.machine import device, machine
from aisys.plan import Plan
from aisys.report import Report
from aisys.rtl import Array, MemoryPort
from aisys.rtl.folder import machine_file
from aisys.rtl.network import Layer, network
from aisys.rtl.network_run import as_device, run_network
from aisys.search import ForwardPass, evaluate
from aisys.workload import read

DIGITS = network("digits")
PORT = MemoryPort()


def convolved(layer: Layer, activations: Any) -> Any:
    """int8 output of one layer, written as its definition: a loop over every output."""
    given, (pad, stride) = layer.requantization, (layer.padding, layer.stride)
    padded = np.pad(activations.astype(np.int64), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    out, _, high, wide = layer.weight.shape
    side = layer.out_side(activations.shape[-1])
    sums = np.zeros((len(activations), side, side, out), np.int64)
    for row in range(side):
        for col in range(side):
            window = padded[:, :, row * stride : row * stride + high, col * stride : col * stride + wide]
            for channel in range(out):
                sums[:, row, col, channel] = (window * layer.weight[channel].astype(np.int64)).sum(axis=(1, 2, 3))
    scaled = np.floor((sums + given.bias) * given.multiplier / 2.0**given.shift + 0.5)
    return np.clip(scaled, 0 if given.is_relu else -128, 127).transpose(0, 3, 1, 2).astype(np.int8)


def test_the_patches_of_a_layer_make_its_convolution() -> None:
    images = DIGITS.images[:20]
    for layer, found in zip(DIGITS.layers, DIGITS.activations(images), strict=True):
        assert (found == convolved(layer, images)).all()
        images = found


def test_the_file_holds_the_logits_of_its_weights_and_an_accuracy_near_that_of_float() -> None:
    """360 unseen images: five answers may change by rounding to int8."""
    logits = DIGITS.run(DIGITS.images)
    assert (logits == DIGITS.logits).all()
    assert DIGITS.accuracy(logits) > 0.9
    assert abs(DIGITS.accuracy(logits) - DIGITS.accuracy_float) < 5 / 360
    assert DIGITS.accuracy(np.roll(logits, 1, axis=1)) < 0.2


def test_the_machine_file_of_an_array_prices_the_network_with_the_cycles_of_the_array(tmp_path: Path) -> None:
    array = Array(5, 3, "os", tile=16)
    (tmp_path / "machine.toml").write_text(machine_file(array.design, PORT, 50e6, "assumed: a clock"))
    priced = cost(DIGITS.op_table(7), device(str(tmp_path / "machine.toml")))
    cycles = [array.cycles(*shape) for shape in DIGITS.shapes(7)]
    assert priced.counts["cycles"].tolist() == cycles
    assert priced.time_s == pytest.approx(np.array(cycles) / 50e6, rel=1e-12)


def plan_of(array: Array, port: MemoryPort, folder: Path, num_images: int) -> Report:
    """The plan of all images at once on the machine that `aisys rtl --out` writes."""
    path = folder / "machine.toml"
    path.write_text(machine_file(array.design, port, 99.46e6, "assumed: a clock"), encoding="utf-8")
    at_once = Plan(micro_batch=num_images, precision="int8")
    return evaluate(ForwardPass(read("digits", batch=num_images)), machine(str(path)), plan=at_once)


@pytest.mark.parametrize("port", [PORT, MemoryPort(latency_cycles=20, cycles_per_beat=3)], ids=["fast", "slow"])
@pytest.mark.parametrize(
    "array",
    [Array(8, 8, is_pipelined=True), Array(8, 8, lanes=4, port_bytes=16), Array(5, 3, "os", tile=16)],
    ids=repr,
)
def test_a_plan_of_the_workload_digits_takes_the_cycles_of_the_array(
    array: Array, port: MemoryPort, tmp_path: Path
) -> None:
    """The graph that is planned holds the network that runs: each layer's product, each cycle, each parameter."""
    found = plan_of(array, port, tmp_path, 37)
    cycles = [array.cycles(*shape, port=port) for shape in DIGITS.shapes(37)]
    assert [round(line.time_s * 99.46e6) for line in found.ops] == cycles
    assert found.metrics["cycles"] == pytest.approx(sum(cycles), rel=1e-12)
    assert found.throughput_per_s == pytest.approx(37 * 99.46e6 / sum(cycles), rel=1e-12)
    weights = sum(layer.weight.size + layer.requantization.bias.size for layer in DIGITS.layers)
    assert read("digits").num_parameters == weights
    assert read("digits").flop - 2 * sum(m * k * n for m, k, n in DIGITS.shapes(1)) == 8 * (8 * 64 + 16 * 16)


def test_what_cannot_run_is_refused() -> None:
    with pytest.raises(UnknownName, match="nearest known: digits"):
        network("digit")
    for count in (0, 361):
        with pytest.raises(BadInput, match=f"{count} images of digits cannot run; give 1 to 360"):
            run_network(Array(4, 4), DIGITS, count, port=PORT, clock_hz=80e6)


def check(array: Array, num_images: int, port: MemoryPort, simulator: str = "fastest") -> None:
    done = run_network(array, DIGITS, num_images, port=port, clock_hz=80e6, simulator=simulator)
    assert done.are_logits_equal
    assert list(done.layer_cycles) == [array.cycles(*shape, port=port) for shape in DIGITS.shapes(num_images)]
    assert done.cycles == done.model_cycles
    assert done.images_per_s == pytest.approx(num_images * 80e6 / done.cycles, rel=1e-9)
    assert 0 < done.energy_joule_per_image < as_device(array, port, 80e6).max_watt / done.images_per_s


def test_a_circuit_step_by_step_gives_the_logits_of_an_image_from_its_last_layer() -> None:
    pytest.importorskip("amaranth", reason="the extra rtl is not installed")
    layer, (_, before, _) = DIGITS.layers[-1], DIGITS.activations(DIGITS.images[:1])
    found = Array(4, 4, "os").simulate(layer.patches(before), layer.matrix, layer.requantization, simulator="amaranth")
    assert (found.values == DIGITS.logits[:1]).all()
    assert found.cycles == found.model_cycles


@pytest.mark.slow
def test_a_circuit_step_by_step_gives_the_logits_of_an_image() -> None:
    pytest.importorskip("amaranth", reason="the extra rtl is not installed")
    check(Array(4, 4, lanes=2), 1, PORT, "amaranth")


@pytest.mark.slow
@pytest.mark.parametrize(
    "array", [Array(8, 8, is_pipelined=True), Array(4, 4, "os", is_pipelined=True)], ids=repr
)  # fmt: skip
@pytest.mark.parametrize("port", [PORT, MemoryPort(latency_cycles=20, cycles_per_beat=3)], ids=["fast", "slow"])
def test_a_compiled_circuit_gives_the_logits_of_the_whole_test_set(array: Array, port: MemoryPort) -> None:
    pytest.importorskip("amaranth", reason="the extra rtl is not installed")
    from aisys.rtl.simulation import compiled

    if not compiled.is_installed():
        pytest.skip("Verilator is not installed")
    check(array, len(DIGITS.images), port)


@pytest.mark.slow
def test_a_plan_takes_the_cycles_that_the_compiled_circuit_counts(tmp_path: Path) -> None:
    """All 360 images on the array of docs/rtl.md, exactly."""
    pytest.importorskip("amaranth", reason="the extra rtl is not installed")
    from aisys.rtl.simulation import compiled

    if not compiled.is_installed():
        pytest.skip("Verilator is not installed")
    array = Array(8, 8, is_pipelined=True)
    done = run_network(array, DIGITS, 360, port=PORT, clock_hz=99.46e6)
    planned = plan_of(array, PORT, tmp_path, 360)
    assert round(planned.metrics["cycles"]) == done.cycles == 333_835
    assert planned.metrics["cycles"] == pytest.approx(done.cycles, rel=1e-12)
    assert planned.throughput_per_s == pytest.approx(done.images_per_s, rel=1e-9)
    assert planned.energy_joule / 360 == pytest.approx(done.energy_joule_per_image, rel=1e-9)
