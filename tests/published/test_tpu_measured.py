"""TPU v6e and v4 against measurements: the catalogued constants reach what their fit promised.

Kind: measured. Rows partly seen by the fit; the unseen errors stand in docs/accuracy.md.
"""

import os
from pathlib import Path

import pytest

from aisys.validate import Result, run

TABLES = os.environ.get("AISYS_TABLES")
pytestmark = pytest.mark.skipif(not TABLES, reason="set AISYS_TABLES to the folder that holds measured/ to compare")


def result(name: str) -> Result:
    return run(Path(TABLES or "", "measured", f"{name}.csv"))


def test_every_row_is_priced_and_errors_stay_under_what_was_asked() -> None:
    for name, most in (("tpu_v6e_ops", 10.0), ("tpu_v6e_gemm", 15.0), ("tpu_llm", 20.0)):
        found = result(name)
        assert not found.skipped, name
        assert 100 * found.errors.mape < most, name


def test_nine_in_ten_intervals_hold_the_measurement() -> None:
    """85 to 95 % of unseen rows; the fit has seen these, and few rows count coarsely."""
    for name in ("tpu_v6e_ops", "tpu_v6e_gemm", "tpu_llm"):
        assert 0.85 <= result(name).errors.interval_coverage <= 1.0, name
