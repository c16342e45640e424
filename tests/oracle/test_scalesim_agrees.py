"""Cycles and buffer accesses of systolic arrays equal full SCALE-Sim 3.0.0 runs, row by row and exactly."""

import csv
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from aisys.cost import CostTable, cost
from aisys.ir import OpTable
from aisys.machine import SystolicArray
from aisys.machine.load import device
from aisys.units import Sourced
from aisys.validate import run

TABLES = os.environ.get("AISYS_TABLES")
pytestmark = pytest.mark.skipif(not TABLES, reason="set AISYS_TABLES to the folder that holds oracle/ to compare")


def rows() -> list[dict[str, str]]:
    found = []
    for path in sorted(Path(TABLES or "", "oracle").glob("scalesim_*.csv")):
        lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        dense = (row for row in csv.DictReader(lines) if row.get("ratio", "dense") == "dense")
        found += [row for row in dense if row["stall_cycles"] == "0"]
    return found


def priced(row: dict[str, str], ending: str = "") -> CostTable:
    grid = device("systolic-32x32")
    assert isinstance(grid.architecture, SystolicArray)
    extents = {name: Sourced(int(row[name[0].upper()]), source="the run", kind="assumed") for name in ("rows", "cols")}
    table = OpTable.of(
        "matmul", batch=1, **{axis.lower(): int(row[axis]) for axis in "MNK"}, b_is_weight=True, a_dtype="int8",
        b_dtype="int8" + ending, out_dtype="int8", math="int8",
    )  # fmt: skip
    return cost(table, replace(grid, architecture=replace(grid.architecture, dataflow=row["dataflow"], **extents)))


def test_every_row_of_every_table_is_equal_in_cycles_and_accesses_sparse_ones_too() -> None:
    for path in sorted(Path(TABLES or "", "oracle").glob("scalesim_*.csv")):
        found = run(path)
        assert found.exact == found.errors.rows > 0, path.name
        assert all(reason == "the run has stalls" for _, reason in found.skipped), path.name


def test_weights_whose_format_is_n_of_m_take_the_cycles_of_sparse_runs() -> None:
    """The op table alone says it: b_dtype int8_2of4, and the row of a dense one beside it."""
    lines = [x for x in Path(TABLES or "", "oracle", "scalesim_sparse.csv").read_text().splitlines() if x[:1] != "#"]
    found = [row for row in csv.DictReader(lines) if row["mode"].startswith("layer") and row["stall_cycles"] == "0"]
    sparse = [row for row in found if ":" in row["ratio"]]
    assert sparse
    for row in sparse:
        n, m = re.findall(r"\d+", row["ratio"])
        done = priced({**row, "dataflow": "ws"}, f"_{n}of{m}")
        assert done.counts["cycles"][0] - 1 == float(row["total_cycles"])
        assert done.counts["ifmap_reads"][0] == float(row["sram_ifmap_reads"])
        assert done.time_s[0] < priced({**row, "dataflow": "ws"}).time_s[0]


def test_cycles_of_every_stall_free_run_are_exact() -> None:
    """SCALE-Sim prints the number of the last cycle, which starts at 0."""
    found = rows()
    assert found
    assert [priced(r).counts["cycles"][0] - 1 for r in found] == [float(r["total_cycles"]) for r in found]


def test_operand_reads_and_mapping_efficiency_are_exact() -> None:
    for row in rows():
        counts = priced(row).counts
        assert counts["ifmap_reads"][0] == float(row["sram_ifmap_reads"]), row
        assert counts["filter_reads"][0] == float(row["sram_filter_reads"]), row
        assert round(100 * counts["mapping_efficiency"][0], 4) == float(row["mapping_eff_pct"]), row


def test_output_writes_are_exact_but_for_the_surplus_that_scalesim_adds_in_os() -> None:
    """In os each of its folds counts rows + cols writes more than there are outputs."""
    for row in rows():
        counts = priced(row).counts
        surplus = counts["folds"][0] * (int(row["R"]) + int(row["C"])) if row["dataflow"] == "os" else 0
        assert counts["ofmap_writes"][0] + surplus == float(row["sram_ofmap_writes"]), row
