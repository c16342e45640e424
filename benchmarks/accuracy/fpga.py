"""LUTs of the FPGA model beside place and route of our own arrays."""

import csv
from collections.abc import Iterator
from pathlib import Path

import aisys
from aisys.cost.fpga import engine
from aisys.machine import Fpga

HEAD = """## FPGA resources

Kind: simulated (Yosys and nextpnr for ECP5 on arrays that `aisys rtl` writes; no board). Nothing is fitted: LUTs of
sums and control follow FINN-R's formulas. DSP blocks are counted, and equal in every run. The model counts what
multiplies and adds; a placed array also holds a memory port, buffers and requantization, which hardly grow with the
elements. So the last column, the growth from the smallest array of a kind to the largest, compares like with like.

| array | LUTs placed | model | error | growth |
|---|---|---|---|---|"""
NOTES = """
An output-stationary element keeps its own sum and hands it out through a second register, for which the formula has
half the LUTs. Around a grid of 64 elements the model lacks a third of what is placed: an engine that fills a chip fits
only if its surroundings take no more than what the catalogue leaves free (`usable_lut_share`)."""

Run = dict[str, str]


def model_luts(run: Run) -> int:
    """An engine of as many products: ws adds up along the rows, os in every element."""
    chip = aisys.device("ecp5-85k").architecture
    assert isinstance(chip, Fpga)
    rows, cols = int(run["rows"]), int(run["cols"])
    return engine(chip, *((rows, cols) if run["dataflow"] == "ws" else (1, rows * cols))).luts


def dense_runs() -> Iterator[list[Run]]:
    """Of each kind of array, the smallest first."""
    path = Path(aisys.__file__).parent / "rtl" / "ecp5-85k.csv"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    runs = sorted(csv.DictReader(lines), key=lambda run: int(run["rows"]) * int(run["cols"]))
    dense = [run for run in runs if not run["sparsity"]]
    for kind in sorted({(run["dataflow"], run["is_pipelined"]) for run in dense}, reverse=True):
        yield [run for run in dense if (run["dataflow"], run["is_pipelined"]) == kind]


def growth_error(first: Run, last: Run) -> float:
    """Relative error of the LUTs that the larger array takes more."""
    placed, model = (count(last) - count(first) for count in (lambda run: int(run["lut"]), model_luts))
    return model / placed - 1


def section() -> str:
    """The section of docs/accuracy.md."""
    lines = [HEAD]
    for runs in dense_runs():
        first, last = runs[0], runs[-1]
        for run, growth in ((first, "-"), (last, f"{100 * growth_error(first, last):+.0f} %")):
            placed, model = int(run["lut"]), model_luts(run)
            lines.append(
                f"| {run['design']} | {placed:,} | {model:,} | {100 * (model / placed - 1):+.0f} % | {growth} |"
            )
    return "\n".join([*lines, NOTES])
