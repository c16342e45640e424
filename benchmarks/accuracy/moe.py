"""Expert layers inside serving stacks, on models that the fit has not seen."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from fit_grouped_matmul import DEVICES, Rows
from fitting import checked_interval, regression, tables_folder, unseen

from aisys.validate.table import read_table

HEAD = """## Expert layers (MoE)

The experts of one layer on one rank in vLLM and TensorRT-LLM (A100, H100). Unseen models: folds by hidden width, inner
width and expert count. Unseen rows: folds by row, as the rows that are kept apart were drawn. Routing is random, and
the tables hold one draw per row, so small skewed batches cannot be hit. No target was set.

| device, format, stack | unseen models, MAPE % | median % | unseen rows, MAPE % | regression | data sheet | rows | \
90 % interval covers % | width | data-sheet tier's width |
|---|---|---|---|---|---|---|---|---|---|"""


def shape_of(rows: Rows) -> np.ndarray:
    """What a regression is given of every row."""
    names = ("tokens", "hidden", "inter", "topk", "experts", "moe_tp", "moe_ep")
    return np.column_stack([rows.table.counts(name).astype(float) for name in names])


def section() -> str:
    """The figures as markdown."""
    table = read_table(tables_folder() / "gpu_moe.csv")
    lines: list[str] = [HEAD]
    errors: list[np.ndarray] = []
    for generation, name in DEVICES.items():
        mine = table.take(table.texts("device") == name)
        kinds = {(d, s.split("-")[0]) for d, s in zip(mine.texts("dtype"), mine.texts("stack"), strict=True)}
        for dtype, stack in sorted(kinds):
            rows = Rows(table, generation, str(dtype), stack)
            cells, ape = measure(rows)
            errors.append(ape)
            lines.append(f"| {name} {dtype} {stack} | {cells} |")
    pooled = np.concatenate(errors, axis=1).mean(axis=1)
    lines.append(
        f"| all | {pooled[0]:.1f} | | {pooled[1]:.1f} | {pooled[2]:.1f} | {pooled[3]:.1f} | {len(table)} | | | |"
    )
    return "\n".join([*lines, "", "Command: `python scripts/fit_grouped_matmul.py`."])


def measure(rows: Rows) -> tuple[str, np.ndarray]:
    """The cells of one kind of rows, and their errors by model, by row, of a regression and of the data sheet."""
    by_row = unseen(rows.predict, rows.measured, rows.free())
    shapes = rows.shapes
    by_model = by_row if len(np.unique(shapes)) < 5 else unseen(rows.predict, rows.measured, rows.free(), shapes, 5)
    fold = np.random.default_rng(1).permutation(len(by_row)) % 4
    plain = np.zeros(len(by_row))
    for number in range(4):
        plain[fold == number] = regression(shape_of(rows), rows.measured, fold != number, fold == number)
    ape = np.array([100 * np.abs(g / rows.measured - 1) for g in (by_model, by_row, plain, rows.floor)])
    coverage, width = checked_interval(rows.measured, by_row)
    light = np.quantile(rows.measured / rows.floor, [0.05, 0.95])
    mean = ape.mean(axis=1)
    return (
        f"{mean[0]:.1f} | {np.median(ape[0]):.1f} | {mean[1]:.1f} | {mean[2]:.1f} | {mean[3]:.1f} | {len(by_row)} | "
        f"{100 * coverage:.0f} | {width:.2f} | {light[1] - light[0]:.1f}"
    ), ape
