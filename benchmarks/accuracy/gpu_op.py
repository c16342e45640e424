"""Single ops of PyTorch: fp32 kernels on devices that the fit has not seen, fp16 ops with their launch."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from fit_stream import (
    POINTWISE,
    READ_EFFICIENCY,
    WIDE_FAMILIES,
    Problem,
    Rows,
    memory_efficiencies,
    rows_of,
    wide_fields,
)
from fitting import Free, checked_interval, tables_folder, unseen

from aisys.validate import gpu_op_fp32, run

HEAD = """## Single PyTorch ops

fp32 kernels (P4, P100, V100, T4, two A100). Unseen devices: each device asked of a fit on the others of its family;
only its memory's share of the data sheet's bandwidth comes from its own generation. No target was set.

| fp32 kernels | family | unseen devices, MAPE % | median % | rows | 90 % interval covers % | width |
|---|---|---|---|---|---|---|"""

WHOLE = """
| whole table, streaming rows fitted on it | MAPE % | median % | rows | covers % | width | data sheet: MAPE % |
|---|---|---|---|---|---|---|"""


def section() -> str:
    """The figures as markdown."""
    rows = rows_of("neusight_fp32_ops.csv", lambda t: gpu_op_fp32.parts(t)[0], ".fp32")
    efficiency = READ_EFFICIENCY | memory_efficiencies(rows)
    known = {g: {"stream.memory_efficiency": e} for g, e in efficiency.items()}
    lines = [HEAD]
    for family, generations in WIDE_FAMILIES.items():
        for kind, fields in wide_fields().items():
            problem = Problem([r for r in rows if r.generation in generations and is_kind(r, kind)], known)
            free = [Free(f"stream.{kind}.fp32.{f.key}", f.prior, f.low, f.high) for f in fields]
            guess = unseen(problem.predict, problem.measured, free, problem.devices, 6)
            ape = 100 * np.abs(guess / problem.measured - 1)
            coverage, width = checked_interval(problem.measured, guess)
            lines.append(
                f"| {kind} | {family}: {', '.join(generations)} | {ape.mean():.1f} | {np.median(ape):.1f} | "
                f"{len(ape)} | {100 * coverage:.0f} | {width:.2f} |"
            )
    lines.append(WHOLE)
    for file, kind in (("neusight_fp32_ops.csv", "gpu_op_fp32"), ("llmcompass_ops.csv", "gpu_op")):
        ours, light = (run(tables_folder() / file, tier).errors for tier in ("analytic", "limit"))
        lines.append(
            f"| {kind} | {100 * ours.mape:.1f} | {100 * ours.median_ape:.1f} | {ours.rows} | "
            f"{100 * ours.interval_coverage:.0f} | {ours.interval_width:.2f} | {100 * light.mape:.1f} |"
        )
    return "\n".join([*lines, "", "Command: `python scripts/fit_stream.py`, `aisys validate TABLE.csv`."])


def is_kind(rows: Rows, kind: str) -> bool:
    """Whether these rows are of a kernel family of the fit: pointwise, layernorm or softmax."""
    function = rows.function.split(".")[0]
    return kind == ("pointwise" if function in POINTWISE else function)
