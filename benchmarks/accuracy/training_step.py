"""Training steps of whole clusters: seconds, ranking of alternatives, and peak memory."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from fit_training import FREE, bench, unseen
from fitting import tables_folder

from aisys.validate import run

HEAD = """## Training step

Seconds per iteration of real runs (table training_step). Unseen: 5 folds over model shapes; each shape is predicted by
constants of its framework that were fitted without it (`scripts/fit_training.py`). The rows here are smaller models and
fewer devices than those that check the targets.

| framework | rows | MAPE %, all rows | MAPE %, unseen shapes | median % | bias % |
|---|---|---|---|---|---|"""

RECORDED = {"megatron-deepspeed": ["5.0", "3.3", "+0.5"]}
"""Folds that take minutes: as `scripts/fit_training.py` printed them when the constants were written, 2026-11-23."""

TARGETS = """
| target | must | aim | nearest figure here |
|---|---|---|---|
| one A100 node, larger models and tp = 8 | 12 % | 8 % | megatron-deepspeed, unseen shapes |
| several A100 nodes | 13 % | 9 % | vtrain_multi_node below, korthikanti2022 below |
| 128-2,048 H100, dense and MoE, bf16 and fp8 | 10 % | 7 % | megatron-core, unseen shapes |
| GPT-3 on 10,752 and 11,616 H100; unseen families | 10 %; 15 % | 5 %; 8 % | no such row here |
| mean peak memory on H100 | 8 % | 4 % | memory below |
"""


def section() -> str:
    """The section as markdown."""
    lines = [HEAD]
    table = tables_folder() / "training_step.csv"
    for name, free in FREE.items():
        data = bench(name)
        everything = np.abs(data.seconds(data.base) / data.measured - 1)
        is_quick = len(set(data.shapes)) > 1 and len(data.rows) < 100
        ratios = unseen(data, free) if is_quick else np.array([])
        off = 1 / ratios - 1
        cells = (
            [f"{100 * np.mean(np.abs(off)):.1f}", f"{100 * np.median(np.abs(off)):.1f}", f"{100 * np.mean(off):+.1f}"]
            if len(off)
            else RECORDED.get(name, ["-", "-", "-"])
        )
        lines.append(f"| {name} | {len(data.rows)} | {100 * np.mean(everything):.1f} | {' | '.join(cells)} |")
    lines.append(TARGETS)
    return "\n".join([*lines, *_validated(run(table).as_dict(), run(table, tier="limit").as_dict())])


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
