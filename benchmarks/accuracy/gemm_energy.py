"""Energy of matrix multiplications: time, sampled power and energy on unseen shapes."""

import contextlib
import io
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from fit_energy import DEVICES, Runs, study
from fitting import checked_interval

from aisys.machine import Device
from aisys.validate import gemm_energy

COMMAND = "`python benchmarks/make_accuracy.py`; fits: `python scripts/fit_energy.py`"
HEAD = """## Energy of matrix multiplication

Runs of H200 and B200 from which board power was sampled every 0.1 s. Unseen: folds by weight shape (n, k); time, and
the energies and set-up times that a reading follows from, are fitted without them (the times of the runs before are
not). Nothing is calibrated on single rows. GB200 has no rows here (must 20 %, aim 12 %): it is priced with the
constants of B200 and its own data sheet. `covers`: rows inside the 90 % interval of energy.

| unseen shapes of, MAPE % | time | power | energy | median | bias | rows | covers % | width | data sheet's |
|---|---|---|---|---|---|---|---|---|---|"""
WHY = """
The power column is no power of the kernel: it is the mean of a few readings of a board that averages over a second, and
most runs last 0.05 to 0.3 s. The model follows the collection: the runs before, in the order of the collector, the
time to set one up, and the seconds in which a kernel is compiled (Hopper, fp8_block). Two long kernels at the same
rates, (9, 65536, 7168) and (10, 12288, 65536) on H200, read 637 W and 364 W; the second follows runs of small weights.
What is left is mostly Blackwell's fp8_block, whose kernels are compiled as well, when is not modelled. All of it
belongs to this comparison: the energy of a plan is the steady one."""


def section() -> str:
    """The figures as markdown."""
    lines, errors = [HEAD], []
    for generation in DEVICES:
        with contextlib.redirect_stdout(io.StringIO()):
            found = study(generation)
        for one in found.runs:
            error, line = _line(one, found.device, *found.unseen[one.variant])
            errors.append(error)
            lines.append(line)
    every = 100 * np.concatenate(errors)
    lines.append(
        f"| all, pooled (must 20, aim 12) | | | {every.mean():.1f} | {np.median(every):.1f} | | {len(every)} | | | |"
    )
    return "\n".join([*lines, WHY, "", f"Command: {COMMAND}."])


def _line(one: Runs, device: Device, time_s: np.ndarray, watt: np.ndarray) -> tuple[np.ndarray, str]:
    measured, joule = one.watt * one.rows.measured, watt * time_s
    least_s, least_watt = gemm_energy.steady_watt(one.rows.ops, device, "limit")
    signed = joule / measured - 1
    coverage, width = checked_interval(measured, joule)
    light = np.quantile(measured / (least_s * least_watt), [0.05, 0.95])
    cells = (
        f"{device.name} {one.variant}", f"{100 * np.abs(time_s / one.rows.measured - 1).mean():.1f}",
        f"{100 * np.abs(watt / one.watt - 1).mean():.1f}", f"{100 * np.abs(signed).mean():.1f}",
        f"{100 * np.median(np.abs(signed)):.1f}", f"{100 * signed.mean():+.1f}", str(len(measured)),
        f"{100 * coverage:.0f}", f"{width:.2f}", f"{light[1] - light[0]:.0f}",
    )  # fmt: skip
    return np.abs(signed), "| " + " | ".join(cells) + " |"
