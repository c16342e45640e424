"""FPGA models beside what others measured and placed.

MLPerf Tiny v0.7, open division, submission hls4ml-finn: median throughput of single images on a PYNQ-Z2 at 100 MHz,
from results/pynq-z2/*/performance/results.txt of mlcommons/tiny_results_v0.7. Kind: measured.
"""

import csv
from pathlib import Path

import pytest

import aisys
from aisys.cost.fpga.dataflow import Layer, convolution, latency_cycles
from aisys.cost.fpga.resources import multipliers
from aisys.cost.generated_array.area import DSP_PER_LANE
from aisys.machine import Fpga
from aisys.rtl import ArrayDesign

CNV = [
    convolution("conv0", side=32, channels=(3, 64), kernel=3),
    convolution("conv1", side=30, channels=(64, 64), kernel=3),
    convolution("conv2", side=14, channels=(64, 128), kernel=3),
    convolution("conv3", side=12, channels=(128, 128), kernel=3),
    convolution("conv4", side=5, channels=(128, 256), kernel=3),
    convolution("conv5", side=3, channels=(256, 256), kernel=3),
    Layer(name="fc0", k=256, n=512), Layer(name="fc1", k=512, n=512), Layer(name="fc2", k=512, n=10),
]  # fmt: skip
CNV_FOLDING = [(3, 16), (32, 32), (32, 16), (32, 16), (32, 4), (32, 1), (4, 1), (8, 1), (1, 5)]
"""SIMD and PE of each layer: Xilinx/finn-examples, build/bnn-pynq/folding_config/cnv-w1a1_folding_config.json."""

KWS = [Layer(name=f"fc{i}", k=k, n=n) for i, (k, n) in enumerate(((490, 256), (256, 256), (256, 256), (256, 12)))]
KWS_FOLDING = [(10, 32), (8, 32), (8, 32), (8, 1)]
"""build/kws/folding_config/mlp_kws_folding_config.json of the same repository, for 200,000 images/s."""

CLOCK_HZ = 100e6


@pytest.mark.parametrize(
    ("layers", "folding", "measured_per_s", "tolerance"),
    [(CNV, CNV_FOLDING, 661.473, 0.10), (KWS, KWS_FOLDING, 57268.135, 0.30)],
    ids=["CNV-W1A1", "KWS-W3A3"],
)
def test_latency_of_finn_networks_is_below_the_measured_one_and_near_it(
    layers: list[Layer], folding: list[tuple[int, int]], measured_per_s: float, tolerance: float
) -> None:
    """Moving an image in and a label out is measured and not modelled, so the model must be the faster one: 8 % for a
    network of 1.5 ms, 26 % for one of 17 microseconds."""
    stages = [(layer, layer.cycles(*on)) for layer, on in zip(layers, folding, strict=True)]
    predicted = latency_cycles(stages) / CLOCK_HZ
    assert (1 - tolerance) / measured_per_s < predicted < 1 / measured_per_s


def test_the_slowest_stage_of_cnv_sets_3000_images_per_second() -> None:
    """FINN balances folds: no layer but the last is twice as fast as the slowest."""
    cycles = [layer.cycles(*on) for layer, on in zip(CNV, CNV_FOLDING, strict=True)]
    assert max(cycles) == 32_768
    assert min(cycles[:-1]) > max(cycles) / 2


def test_placed_arrays_take_the_multipliers_that_the_chip_counts() -> None:
    """Every run of place and route on our arrays; beside the elements, lanes that requantize take DSP blocks."""
    chip = aisys.device("ecp5-85k").architecture
    assert isinstance(chip, Fpga)
    path = Path(aisys.__file__).parent / "rtl" / "ecp5-85k.csv"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    lanes = DSP_PER_LANE * ArrayDesign(rows=4, cols=4).lanes
    rows = list(csv.DictReader(lines))
    assert len(rows) >= 8
    for row in rows:
        made = multipliers(chip, int(row["rows"]) * int(row["cols"]), int(chip.num_dsps), 8)
        assert made.dsps + lanes == int(row["dsp"])
