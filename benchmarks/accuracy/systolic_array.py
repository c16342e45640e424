"""Systolic arrays: exact runs of SCALE-Sim, and what TPUs measure on ops, awkward products and whole models."""

import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from fit_tpu import Unseen, all_fits
from fitting import checked_interval

from aisys.validate import run

MUST = {
    "single products of v6e": 10, "awkward products of v6e": 15, "forward passes of v6e": 20,
    "forward passes of v4": 20,
}  # fmt: skip

HEAD = """## Systolic arrays

Whole runs of SCALE-Sim 3.0.0 without stalls: rows whose cycles and three counts of buffer accesses are all equal.

| table | rows | equal | must |
|---|---|---|---|"""
MEASURED = """
TPUs overlap the folds of an array; the constants of that are fitted. Unseen: folds by weight shape (products), by row
(attention) and by sequence and batch (forward passes). The regression knows no physics: a quadratic in the logarithms
of the shape, or of sequence, batch and parameters. Fits: `python scripts/fit_tpu.py`.

| unseen rows, MAPE % | reached | median % | must | rows | regression's median % | interval covers % | width |
|---|---|---|---|---|---|---|---|"""
NOTES = """
Awkward products were timed on operands that stay in the vector memory, single products on operands from main memory;
one set of constants serves both. Forward passes run the graph of the reader with attention as separate kernels.
Short encoders' attention (heads of 64, 128 tokens) is predicted a third to two thirds too slow. The copy of logits
whose vocabulary does not fill registers rests on one model (GPT-2)."""


def _measured(found: Unseen) -> str:
    errors, blind = (100 * np.abs(guess / found.measured - 1) for guess in (found.predicted, found.blind))
    covered, width = checked_interval(found.measured, found.predicted)
    return (
        f"| {found.name} | {errors.mean():.1f} | {np.median(errors):.1f} | {MUST.get(found.name, '-')} | {len(errors)} "
        f"| {np.median(blind):.0f} | {100 * covered:.0f} | {width:.2f} |"
    )


def section() -> str:
    """The section of docs/accuracy.md."""
    oracle = Path(os.environ["AISYS_TABLES"]) / "oracle"
    lines = [HEAD]
    for name in ("scalesim_gemm", "scalesim_resnet18", "scalesim_sparse"):
        result = run(oracle / f"{name}.csv")
        lines.append(f"| {name}.csv | {result.errors.rows} | {result.exact} | all |")
    lines.append(MEASURED)
    lines += [_measured(found) for fitted in all_fits().values() for found in fitted.unseen]
    return "\n".join([*lines, NOTES])
