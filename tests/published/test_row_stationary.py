"""Eyeriss: what its paper says of AlexNet on the chip."""

import os
from pathlib import Path

import numpy as np
import pytest

from aisys.cost import cost
from aisys.cost.loop_nest.row_stationary import (
    Chip,
    ConvLayer,
    best_mapping,
    dram_words,
    glb_words,
    processing_cycles,
    run_length_ratio,
)
from aisys.errors import BadInput
from aisys.ir import OpTable
from aisys.machine import device
from aisys.validate import run

CHIP = Chip.of(device("eyeriss-v1").architecture)  # type: ignore[arg-type]
TABLES = os.environ.get("AISYS_TABLES")


@pytest.mark.skipif(not TABLES, reason="AISYS_TABLES is not set")
def test_latency_traffic_and_busy_elements_are_near_the_measured_ones() -> None:
    """Targets: median 10 % and 15 %; busy elements follow from the mapping alone and are equal."""
    found = run(Path(TABLES or ".") / "measured" / "eyeriss.csv")
    assert found.errors.rows == 6
    assert found.errors.median_ape is not None
    assert found.errors.median_ape < 0.10
    assert found.others["active_pes"].mape == 0
    glb = found.others["glb_access_MB"]
    assert glb.p90_ape is not None
    assert glb.p90_ape < 0.003  # half of the last printed digit, and what the total rounds
    assert found.others["dram_access_MB"].p90_ape is not None
    assert found.others["dram_access_MB"].p90_ape < 0.15


def test_a_pass_cannot_be_faster_than_its_arithmetic() -> None:
    layer = ConvLayer(
        batch=4, groups=1, out_channels=96, in_channels=3, in_height=227, out_height=55, kernel=11, stride=4
    )
    mapping = best_mapping(layer, CHIP)
    assert mapping.active_pes(layer) <= 168
    assert processing_cycles(layer, mapping, CHIP) >= layer.macs / mapping.active_pes(layer)


def test_one_by_one_filters_map_too_and_no_product_is_left_out() -> None:
    for channels, stride, height in ((64, 2, 28), (1024, 1, 14), (3, 1, 7)):
        layer = ConvLayer(
            batch=2, groups=1, out_channels=128, in_channels=channels, in_height=height * stride, out_height=height,
            kernel=1, stride=stride,
        )  # fmt: skip
        mapping = best_mapping(layer, CHIP)
        assert mapping.active_pes(layer) <= 168
        assert processing_cycles(layer, mapping, CHIP) >= layer.macs / 168


def test_sets_that_share_a_sum_stand_one_above_the_other() -> None:
    """Of 12 rows, filters of 3 rows leave 4 sets to a column; more channels at once would have no neighbour."""
    for height in (4, 7, 14, 28, 56):
        layer = ConvLayer(
            batch=1, groups=1, out_channels=64, in_channels=64, in_height=height + 2, out_height=height, kernel=3
        )
        assert best_mapping(layer, CHIP).r <= 4


def test_a_map_without_zeros_is_stored_plainly_and_one_of_zeros_takes_a_pair_for_32() -> None:
    assert run_length_ratio(0.0) == 1.0
    assert run_length_ratio(1.0) == 64 / 3 / 16 / 32
    ratios = [run_length_ratio(z) for z in np.linspace(0, 1, 20)]
    assert ratios == sorted(ratios, reverse=True)


def test_a_run_length_code_of_real_values_is_as_long_as_the_formula_says() -> None:
    """A coder of 5-bit runs and values, three to 64 bits, on independent zeros; 1 % for their chance."""
    values = np.random.default_rng(0).random(200_000) > 0.7
    pairs, run_length = 0, 0
    for is_value in values:
        if is_value or run_length == 31:
            pairs, run_length = pairs + 1, 0
        else:
            run_length += 1
    assert pairs * 64 / 3 / (16 * len(values)) == pytest.approx(run_length_ratio(0.7), rel=0.01)


def test_a_filter_that_is_higher_than_a_scratchpad_is_refused() -> None:
    wide = ConvLayer(batch=1, groups=1, out_channels=8, in_channels=3, in_height=64, out_height=52, kernel=13)
    with pytest.raises(BadInput, match="a filter of 13 rows does not fit the array; at most 12 rows fit"):
        best_mapping(wide, CHIP)


def test_a_convolution_pays_for_each_memory_by_its_accesses() -> None:
    """CONV5 of AlexNet: 100 pJ a byte of DRAM, 3 of the buffer, 1 a product and 8 bytes of scratchpads at 0.5."""
    layer = ConvLayer(batch=4, groups=2, out_channels=128, in_channels=192, in_height=15, out_height=13, kernel=3)
    of = {f"{role}_dtype": "bf16" for role in ("a", "b", "out")}
    row = OpTable.of(
        "conv", batch=4, groups=2, out_channels=128, in_channels=192, out_h=13, out_w=13, kernel_h=3, kernel_w=3,
        stride=1, math="bf16", **of,
    )  # fmt: skip
    chip = device("eyeriss-v1")
    found, mapping = cost(row, chip), best_mapping(layer, CHIP)
    dram, glb = 2 * float(np.sum(dram_words(layer, mapping))), 2 * float(glb_words(layer, mapping))
    assert (found.traffic_bytes["dram"][0], found.traffic_bytes["glb"][0]) == (dram, glb)
    active = found.energy_joule[0] - found.time_s[0] * float(chip.idle_watt)
    assert active == pytest.approx(dram * 100e-12 + glb * 3e-12 + layer.macs * (1e-12 + 8 * 0.5e-12), rel=1e-9)
