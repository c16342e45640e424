"""What fits say of rows that they have not seen: summaries, intervals, and the file that docs/accuracy.md reads."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

UNSEEN = Path(__file__).parents[1] / "benchmarks" / "accuracy" / "training_step_unseen.csv"
FEW_ROWS = 1.5
"""Intervals from n cells are widened by 1 + FEW_ROWS / sqrt(n) in log: few rows of one or two sources show few of the
extremes that other clusters and model families will. Assumed."""


class Held(NamedTuple):
    """One row that a fit has not seen: the question, its place, log(measured / predicted), the same by a regression
    without physics, its weight."""

    split: str
    row: int
    log: float
    regression: float
    weight: float


def logs_of(rows: Sequence[Held]) -> tuple[np.ndarray, np.ndarray]:
    """log(measured / predicted) and weights of held-out rows."""
    return np.array([one.log for one in rows]), np.array([one.weight for one in rows])


def interval(logs: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """The 5th and 95th percentile of measured over predicted, wider for few cells, never without the prediction."""
    order = np.argsort(logs)
    place = np.cumsum(weights[order]) - weights[order] / 2
    low, high = np.interp([0.05, 0.95], place / weights.sum(), logs[order])
    wider = 1.0 + FEW_ROWS / np.sqrt(weights.sum())
    return min(float(np.exp(low * wider)), 0.96), max(float(np.exp(high * wider)), 1.04)


def summary(logs: np.ndarray, weights: np.ndarray) -> str:
    """MAPE, median and bias of predictions whose log(measured / predicted) is given."""
    off = np.expm1(-logs)
    mean, bias = np.average(np.abs(off), weights=weights), np.average(off, weights=weights)
    return f"rows {len(logs):3d}  MAPE {mean:.3f}  median {np.median(np.abs(off)):.3f}  bias {bias:+.3f}"


def record(family: str, sources: np.ndarray, held: Sequence[Held], memory_logs: np.ndarray) -> None:
    """Put what folds say in the file that docs/accuracy.md is made from."""
    low, high = interval(*logs_of(held)) if len(held) >= 5 else (np.nan, np.nan)
    kept = [line for line in UNSEEN.read_text().splitlines()[1:] if line.split(",")[0] != family]
    for split, source in dict.fromkeys((one.split, sources[one.row]) for one in held):
        rows = [one for one in held if one.split == split and sources[one.row] == source]
        ratio = np.exp([one.log for one in rows])
        figures = [np.abs(1 / ratio - 1).mean(), (1 / ratio - 1).mean(), np.mean((ratio >= low) & (ratio <= high))]
        figures.append(np.mean([np.abs(np.expm1(-one.regression)) for one in rows]))
        kept.append(",".join([family, split, source, str(len(rows)), *(f"{figure:.4f}" for figure in figures)]))
    if len(memory_logs):
        off = np.expm1(-memory_logs)
        kept.append(f"{family},memory row by row,,{len(off)},{np.abs(off).mean():.4f},{off.mean():.4f},,")
    head = "family,held_out,source,rows,mape,bias,coverage,regression_mape"
    UNSEEN.write_text("\n".join([head, *sorted(kept)]) + "\n")
