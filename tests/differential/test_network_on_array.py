"""The digits network on generated arrays: pixels to logits, bit for bit, in the cycles of the model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aisys.cost import cost
from aisys.errors import BadInput, UnknownName
from aisys.machine import device
from aisys.rtl import Array, MemoryPort
from aisys.rtl.network import Layer, network
from aisys.rtl.network_run import as_device, run_network

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
    from aisys.rtl.folder import machine_file

    array = Array(5, 3, "os", tile=16)
    (tmp_path / "machine.toml").write_text(machine_file(array.design, PORT, 50e6, "assumed: a clock"))
    priced = cost(DIGITS.op_table(7), device(str(tmp_path / "machine.toml")))
    cycles = [array.cycles(*shape) for shape in DIGITS.shapes(7)]
    assert priced.counts["cycles"].tolist() == cycles
    assert priced.time_s == pytest.approx(np.array(cycles) / 50e6, rel=1e-12)


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
