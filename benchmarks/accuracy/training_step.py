"""Training steps of whole clusters: seconds, ranking of alternatives, and peak memory."""

import os
from pathlib import Path

import numpy as np

from aisys.validate import run

HEAD = """## Training step

Seconds per iteration of real runs (table training_step). Unseen model shapes, as `python scripts/fit_training.py`
printed them when the constants were written on 2026-11-23: H100 within 4 %, A100 within 8 %. Below are all rows as
`aisys validate` sees them, most of which the fit has seen; they are smaller models and fewer devices than those that
check the targets."""

TARGETS = """
| target | must | aim | nearest figure here |
|---|---|---|---|
| one A100 node, larger models and tp = 8 | 12 % | 8 % | vtrain_one_node below |
| several A100 nodes | 13 % | 9 % | vtrain_multi_node below, korthikanti2022 below |
| 128-2,048 H100, dense and MoE, bf16 and fp8 | 10 % | 7 % | dgxc_h100, mlperf_v4.0_gpt3 below |
| GPT-3 on 10,752 and 11,616 H100; unseen families | 10 %; 15 % | 5 %; 8 % | no such row here |
| mean peak memory on H100 | 8 % | 4 % | memory below |
"""


def section() -> str:
    """The section as markdown."""
    table = Path(os.environ["AISYS_TABLES"]) / "measured" / "training_step.csv"
    return "\n".join([HEAD, TARGETS, *_validated(run(table).as_dict(), run(table, tier="limit").as_dict())])


def _validated(ours: dict[str, object], light: dict[str, object]) -> list[str]:
    """By source: error, interval and the data-sheet tier beside it; then ranking and memory."""
    groups, limits = ours["per_group"], light["per_group"]
    assert isinstance(groups, dict)
    assert isinstance(limits, dict)
    lines = ["`aisys validate training_step.csv` (rows that the fit has seen), data-sheet tier beside it:", ""]
    lines += [
        "| source | rows | MAPE % | covers % | width | data sheet MAPE % | width |",
        "|---|---|---|---|---|---|---|",
    ]
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
        lines += ["", f"Ranking within {len(big)} groups: {said} (must 3, aim 1)."]
    memory = ours.get("others", {})
    assert isinstance(memory, dict)
    for column, other in memory.items():
        lines += ["", f"{column}: {other['rows']} rows, MAPE {100 * other['mape']:.1f} %."]
    return lines
