"""Loop nests: runs and optima of three programs, and Eyeriss layer by layer."""

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
    return HEAD + "\n".join([_timeloop(), _accelforge(), _zigzag(), *_eyeriss()]) + "\n" + FOOT


def _timeloop() -> str:
    found = run(TABLES / "oracle" / "timeloop_reference.csv")
    return (
        f"| cycles and energies equal Timeloop's to the printed digit (simulated) | {found.exact} of "
        f"{found.errors.rows} | all | {found.errors.rows} | `aisys validate timeloop_reference.csv` |"
    )


def _accelforge() -> str:
    found = run(TABLES / "oracle" / "accelforge_optimal.csv")
    worst = max(found.errors.mape, *(other.mape for other in found.others.values()))
    return (
        f"| energy, latency and their product of accelforge's optimal mappings (simulated), worst mean error | "
        f"{worst:.1e} | tied within 1e-6 | {found.errors.rows} | `aisys validate accelforge_optimal.csv` |"
    )


def _zigzag() -> str:
    found = run(TABLES / "oracle" / "zigzag_resnet18_tpu_like.csv")
    return (
        f"| energy-delay product of ResNet-18's layers over ZigZag's (simulated), mean | {1 + found.errors.bias:.3f} | "
        f"at most 1 | {found.errors.rows} | `aisys validate zigzag_resnet18_tpu_like.csv` |"
    )


def _eyeriss() -> list[str]:
    found = run(TABLES / "measured" / "eyeriss.csv")
    pes, moved, glb = (found.others[name] for name in ("active_pes", "dram_access_MB", "glb_access_MB"))
    command = "`aisys validate eyeriss.csv`"
    return [
        f"| processing latency, median | {found.errors.median_ape:.1%} | 10 % | {found.errors.rows} | {command} |",
        f"| DRAM traffic, mean | {moved.mape:.1%} | 15 % | {moved.rows} | {command} |",
        f"| accesses of the global buffer, mean | {glb.mape:.2%} | exact as printed | {glb.rows} | {command} |",
        f"| active elements, 90th percentile of the error | {pes.p90_ape:.1%} | exact | {pes.rows} | {command} |",
    ]
