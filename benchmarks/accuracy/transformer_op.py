"""Layer ops on one tensor-parallel rank: streaming kernels on unseen rows, whole tables through the public door."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from fit_stream import FIELDS, Problem, memory_efficiencies, rows_of
from fitting import Free, checked_interval, tables_folder, unseen

from aisys.validate import run, transformer_layer, transformer_op

HEAD = """## Layer ops

Norms, rotary embedding, activations, additions and gathers of Llama layers on A100, A40 and H100 (kernel times in
whole microseconds), and on RTX 4090 and RTX PRO 6000 inside vLLM. Unseen: 4 folds by row. No target was set.

| function | generation | unseen, MAPE % | median % | rows | 90 % interval covers % | width |
|---|---|---|---|---|---|---|"""
WHOLE = """
| whole table, streaming rows fitted on it | MAPE % | median % | rows | covers % | width | data sheet: MAPE % | width |
|---|---|---|---|---|---|---|---|"""

TABLES = {"vidur_mlp.csv": "transformer_op", "llmservingsim_layers.csv": "transformer_layer"}


def section() -> str:
    """The figures as markdown."""
    rows = [
        *rows_of("vidur_mlp.csv", lambda t: transformer_op.parts(t)[0]),
        *rows_of("llmservingsim_layers.csv", lambda t: transformer_layer.parts(t)[0]),
    ]
    known = {g: {"stream.memory_efficiency": e} for g, e in memory_efficiencies(rows).items()}
    lines = [HEAD]
    for function, generation in sorted({(r.function, r.generation) for r in rows}):
        problem = Problem([r for r in rows if (r.function, r.generation) == (function, generation)], known)
        free = [Free(f"stream.{function}.{f.key}", f.prior, f.low, f.high) for f in FIELDS[function]]
        guess = unseen(problem.predict, problem.measured, free)
        ape = 100 * np.abs(guess / problem.measured - 1)
        coverage, width = checked_interval(problem.measured, guess)
        lines.append(
            f"| {function} | {generation} | {ape.mean():.1f} | {np.median(ape):.1f} | {len(ape)} | "
            f"{100 * coverage:.0f} | {width:.2f} |"
        )
    lines += [WHOLE, *(whole(file, kind) for file, kind in TABLES.items())]
    return "\n".join([*lines, "", "Command: `python scripts/fit_stream.py`, `aisys validate TABLE.csv`."])


def whole(file: str, kind: str) -> str:
    """One line: the table as `aisys validate` sees it, and under the data-sheet tier."""
    ours, light = (run(tables_folder() / file, tier).errors for tier in ("analytic", "limit"))
    return (
        f"| {kind} | {100 * ours.mape:.1f} | {100 * ours.median_ape:.1f} | {ours.rows} | "
        f"{100 * ours.interval_coverage:.0f} | {ours.interval_width:.2f} | {100 * light.mape:.1f} | "
        f"{light.interval_width:.0f} |"
    )
