"""Training steps of whole clusters: seconds, ranking of alternatives, and peak memory."""

import csv
import os
from pathlib import Path

import numpy as np

from aisys.validate import run

UNSEEN = Path(__file__).with_name("training_step_unseen.csv")
ASKED = (
    ("one A100 node: larger models, tp = 8", "12; 8", "megatron-deepspeed", "wider tensor groups",
     "tp 4 from 1 and 2"),
    ("", "", "megatron-deepspeed", "larger microbatches", "microbatches of 4 and 8 from 1 and 2"),
    ("several A100 nodes", "13; 9", "megatron-deepspeed", "another model", "each of four models in turn"),
    ("", "", "megatron-deepspeed", "more devices", "256 and 512 devices from 2 to 64"),
    ("", "", "megatron-deepspeed", "another source", "all of several nodes from one node of a small model"),
    ("", "", "megatron", "another model", "each of four models in turn"),
    ("128-2,048 H100, dense and MoE, bf16, fp8", "10; 7", "megatron-core", "another model",
     "each of five models in turn, the only MoE too"),
    ("GPT-3 on 10,752 and 11,616 H100", "10; 5", "megatron-core", "more devices", "64 and 512 devices from 8 to 32"),
    ("unseen families and sources, H100", "15; 8", "megatron-core", "another source", "MLPerf from dgxc"),
    ("", "", "torchtitan", "another model", "405B on 512 devices from 8B"),
    ("", "", "torchtitan", "another source", "each configuration in turn"),
    ("mean peak memory, H100", "8; 4", "torchtitan", "memory row by row", "each row in turn"),
)  # fmt: skip
HEAD = """## Training step

Seconds per iteration of real runs (table training_step). First what fits say of rows that they have not seen; the folds
imitate the targets, whose own rows are not here: there is no larger model on one A100 node than hidden 1024, no tensor
group of 8 on one node, no run above 512 H100. Beside it a regression without physics (time as a product of powers of
flop per device, degrees and microbatches) fitted on the same rows.

Command: `python scripts/fit_training.py`, which writes the constants and this table."""

REASONS = """
The constants in the catalogue are fitted on all rows of the table. The choice of what to model was made while looking
at these folds, and the intervals come from the same held-out rows, widened for their small number, so that their
coverage here is not an independent check."""


def section() -> str:
    """The section as markdown."""
    table = Path(os.environ["AISYS_TABLES"]) / "measured" / "training_step.csv"
    return "\n".join([HEAD, "", *_unseen(), REASONS, *_seen(run(table).as_dict(), run(table, tier="limit").as_dict())])


def _unseen() -> list[str]:
    """Errors on held-out rows, by target."""
    lines = [
        "| target | must; aim, % | held out | rows | MAPE % | bias % | 90 % interval covers % | regression, MAPE % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows = list(csv.DictReader(UNSEEN.open(encoding="utf-8")))
    for target, goal, family, split, said in ASKED:
        found = [row for row in rows if (row["family"], row["held_out"]) == (family, split)]
        number = sum(int(row["rows"]) for row in found)
        cells = [_mean(found, name) for name in ("mape", "bias", "coverage", "regression_mape")]
        lines.append(f"| {target} | {goal} | {family}: {said} | {number} | {' | '.join(cells)} |")
    return lines


def _mean(rows: list[dict[str, str]], name: str) -> str:
    """A figure in percent over all rows; empty where there is none."""
    if not rows or not rows[0][name]:
        return ""
    weights = [int(row["rows"]) for row in rows]
    digits = 0 if name == "coverage" else 1
    return f"{100 * np.average([float(row[name]) for row in rows], weights=weights):.{digits}f}"


def _seen(ours: dict[str, object], light: dict[str, object]) -> list[str]:
    """By source, on rows that the fit has seen: error, interval, the data-sheet tier; then ranking and memory."""
    groups, limits = ours["per_group"], light["per_group"]
    assert isinstance(groups, dict)
    assert isinstance(limits, dict)
    lines = [
        "", "`aisys validate training_step.csv` (rows that the fit has seen), data-sheet tier beside it:", "",
        "| source | rows | MAPE % | covers % | width | data sheet MAPE % | width |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for key, group in groups.items():
        if key.startswith("source="):
            other = limits.get(key, {"mape": float("nan"), "interval_width": float("nan")})
            lines.append(
                f"| {key.removeprefix('source=')} | {group['rows']} | {100 * group['mape']:.1f} | "
                f"{100 * group['interval_coverage']:.0f} | {group['interval_width']:.2f} | {100 * other['mape']:.0f} | "
                f"{other['interval_width']:.2f} |"
            )
    ranking = ours.get("ranking", [])
    assert isinstance(ranking, list)
    big = [r for r in ranking if r["rows"] >= 3 and r["tau"] is not None]
    if big:
        tau, regret = np.mean([r["tau"] for r in big]), np.mean([r["regret"] for r in big])
        said = f"mean Kendall's tau {tau:.2f} (must 0.8, aim 0.9), mean regret of the top pick {100 * regret:.1f} %"
        lines += ["", f"Ranking within {len(big)} groups (seen rows): {said} (must 3, aim 1)."]
    memory = ours.get("others", {})
    assert isinstance(memory, dict)
    for column, other in memory.items():
        lines += ["", f"{column} (seen rows): {other['rows']} rows, MAPE {100 * other['mape']:.1f} %."]
    return lines
