"""Collectives as others measured them, on tables that no fit has read."""

import os
from pathlib import Path

import pytest

from aisys.validate import run

TABLES = os.environ.get("AISYS_TABLES")
pytestmark = pytest.mark.skipif(not TABLES, reason="set AISYS_TABLES to the folder that holds measured/ to compare")


def test_nccl_on_an_unseen_h100_node_is_met_within_ten_percent() -> None:
    """NVIDIA's own log of nccl-tests, 8 B to 16 GiB: another node than the one fitted."""
    result = run(Path(str(TABLES)) / "measured/nccl_allreduce.csv")
    found = result.per_group["gpu=H100"]
    assert found.rows >= 20
    assert found.mape is not None
    assert found.mape < 0.10


def test_older_nccl_on_an_unseen_a100_node_is_met_within_four_percent() -> None:
    """1 MiB to 1 GiB, 2 to 8 ranks, three of which (3, 5, 6, 7) no fitted row has."""
    found = run(Path(str(TABLES)) / "measured/nccl_allreduce_one_node.csv").per_group["gpu=a100"]
    assert found.mape is not None
    assert found.mape < 0.04


def test_the_data_sheet_tier_is_never_above_a_measured_collective() -> None:
    for constants in ("fitted", "transfer"):
        result = run(Path(str(TABLES)) / "measured/gpu_collectives.csv", "limit", constants=constants)
        assert not result.skipped
        assert result.errors.bias is not None
        assert result.errors.bias < 0
        assert result.errors.bias == -(result.errors.mape or 0)


def test_our_intervals_are_less_than_half_as_wide_as_those_of_the_data_sheet() -> None:
    path = Path(str(TABLES)) / "measured/gpu_collectives.csv"
    ours, sheet = run(path).errors, run(path, "limit").errors
    assert ours.interval_width is not None
    assert sheet.interval_width is not None
    assert ours.interval_width < 0.5 * sheet.interval_width
    assert 0.85 <= (ours.interval_coverage or 0) <= 0.97
