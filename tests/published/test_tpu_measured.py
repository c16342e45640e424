"""TPU v6e and v4 against measurements: the catalogued constants reach what their fit promised.

Kind: measured. Rows partly seen by the fits of v4 and v6e; the unseen errors stand in docs/accuracy.md.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from aisys.machine import device
from aisys.validate import Result, run
from aisys.validate.tpu_v1 import rates

TABLES = os.environ.get("AISYS_TABLES")
needs_tables = pytest.mark.skipif(not TABLES, reason="set AISYS_TABLES to the folder that holds measured/ to compare")


def result(name: str) -> Result:
    return run(Path(TABLES or "", "measured", f"{name}.csv"))


@needs_tables
def test_every_row_is_priced_and_errors_stay_under_what_was_asked() -> None:
    for name, most in (("tpu_v6e_ops", 10.0), ("tpu_v6e_gemm", 15.0), ("tpu_llm", 20.0)):
        found = result(name)
        assert not found.skipped, name
        assert 100 * found.errors.mape < most, name


@needs_tables
def test_nine_in_ten_intervals_hold_the_measurement() -> None:
    """85 to 95 % of unseen rows; the fit has seen these, and few rows count coarsely."""
    for name in ("tpu_v6e_ops", "tpu_v6e_gemm", "tpu_llm"):
        assert 0.85 <= result(name).errors.interval_coverage <= 1.0, name


@needs_tables
def test_applications_on_the_first_tpu_run_within_a_fifth_of_what_was_measured() -> None:
    """From their sizes alone; nothing is fitted."""
    found = result("tpu_v1")
    assert not found.skipped
    assert found.errors.rows >= 2
    assert max(errors.mape for errors in found.per_group.values()) < 0.20


def test_the_first_tpu_loads_a_tile_of_weights_while_it_multiplies_the_one_before() -> None:
    """A tile of 64 KiB takes 1,349.3 cycles of 700 MHz at 34 GB/s; full tiles of many vectors reach 92 TOPS, and a
    layer of one element more than a tile takes four."""
    one, tpu = 256.0**2, device("tpu-v1")
    loading = one / (34e9 / 700e6)
    vectors = np.array([1.0, 1000.0, 4000.0])
    rate, active = rates(np.full(3, one), vectors, tpu)
    peak = 2 * one * 700e6
    assert peak / 1e12 == pytest.approx(91.75, abs=0.01)
    assert rate == pytest.approx(peak * np.minimum(vectors / loading, 1), rel=1e-12)
    assert active == pytest.approx(np.minimum(vectors / loading, 1), rel=1e-12)
    more, _ = rates(np.array([257.0**2]), np.array([4000.0]), tpu)
    assert more[0] == pytest.approx(peak * (257 / 512) ** 2, rel=1e-12)
