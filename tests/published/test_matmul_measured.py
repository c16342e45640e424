"""Matrix multiplications on real GPUs: how close prices come, on rows here and on devices that no fit has seen."""

import os
from pathlib import Path

import numpy as np
import pytest

from aisys.cost import cost
from aisys.machine import load
from aisys.validate import read_table, run
from aisys.validate.gemm import op_table

TABLES = os.environ.get("AISYS_TABLES")
pytestmark = pytest.mark.skipif(not TABLES, reason="AISYS_TABLES does not name a folder with measured/")

AT_MOST = {
    ("gpu_gemm.csv", "analytic"): 0.07, ("gpu_gemm.csv", "calibrated"): 0.055, ("gpu_gemm_power.csv", "analytic"): 0.16,
}  # fmt: skip
"""MAPE on rows that the constants were fitted on: a guard against a slip, not a claim (docs/accuracy.md)."""


def measured(file: str) -> Path:
    return Path(TABLES or "") / "measured" / file


@pytest.mark.parametrize(("file", "tier"), AT_MOST)
def test_every_row_is_priced_close_and_inside_a_narrow_interval(file: str, tier: str) -> None:
    ours, light = run(measured(file), tier), run(measured(file), "limit").errors
    assert ours.skipped == ()
    assert ours.errors.mape is not None
    assert ours.errors.interval_coverage is not None
    assert ours.errors.interval_width is not None
    assert light.interval_width is not None
    assert ours.errors.mape < AT_MOST[file, tier]
    assert ours.errors.interval_coverage >= 0.85
    assert ours.errors.interval_width <= light.interval_width / 2


@pytest.mark.parametrize(
    ("file", "column", "name", "constants", "at_most"),
    [
        ("gpu_gemm.csv", "us_median", "B200-SXM", "transfer", 0.11),
        ("gpu_gemm_power.csv", "us", "H200-SXM-141GB", "fitted", 0.08),
    ],
)
def test_a_device_that_no_fit_has_seen_is_priced_from_its_documents(
    file: str, column: str, name: str, constants: str, at_most: float
) -> None:
    table = read_table(measured(file))
    mine = table.take((table.texts("device") == name) & (table.texts("dtype") == "bf16"))
    device = load.device(name, constants="transfer" if constants == "transfer" else "fitted")
    found = cost(op_table(mine), device)
    ratio = mine.numbers(column) * 1e-6 / found.time_s
    assert np.abs(1 / ratio - 1).mean() < at_most
    assert 0.85 <= ((ratio >= found.error_low) & (ratio <= found.error_high)).mean() <= 0.99


def test_energy_is_compared_with_its_time_and_its_power() -> None:
    found = run(measured("gpu_gemm_power.csv"))
    assert set(found.others) == {"us", "watt"}
    assert found.others["us"].mape is not None
    assert found.others["us"].mape < 0.08
