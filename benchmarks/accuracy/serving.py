"""Decode steps of serving engines at a fixed concurrency."""

import os
from pathlib import Path

from aisys.validate import run

HEAD = """## Serving

Mean time per output token of TensorRT-LLM, vLLM and SGLang at fixed concurrency (table serving); no target was set.
Six constants of the engine are fitted by `scripts/fit_serving.py`, which prints the error of models that a fit has not
seen: 31 % MAPE, 24 % median when it was last run. Below, all rows as `aisys validate` sees them. Queueing is not
modelled, so the time to the first token is not compared.

| rows of | rows | MAPE % | median % | 90 % interval covers % |
|---|---|---|---|---|"""


def section() -> str:
    """The section as markdown."""
    result = run(Path(os.environ["AISYS_TABLES"]) / "measured" / "llm_e2e_agg.csv").as_dict()
    lines = [HEAD, _line("all", result)]
    lines += [_line(key.partition("=")[2], g) for key, g in result["per_group"].items() if key.startswith("system=")]
    why = "models outside the catalogue, formats without arithmetic, attention data parallelism inside a replica"
    lines.append(f"\n{len(result['skipped'])} rows are skipped: {why}.")
    return "\n".join(lines)


def _line(name: str, group: dict[str, float]) -> str:
    shares = (group["mape"], group["median_ape"], group["interval_coverage"])
    return f"| {name} | {group['rows']} | " + " | ".join(f"{100 * s:.0f}" for s in shares) + " |"
