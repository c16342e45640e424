"""Energy of matrix multiplications: time, sampled power and energy on unseen shapes."""

import contextlib
import io
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from fit_energy import DEVICES, Runs, runs, sampler, steady, time_constants
from fitting import changed, checked_interval

from aisys.cost.gpu import stack as stacks
from aisys.validate import gemm_energy

COMMAND = "`python benchmarks/make_accuracy.py`; fits: `python scripts/fit_energy.py`"
HEAD = """## Energy of matrix multiplication

Runs of H200 and B200 from which board power was sampled every 0.1 s. Unseen: folds by weight shape (n, k); time, steady
power and the sampler's correction are fitted without them. GB200 has no rows here (must 20 %, aim 12 %): it is priced
with the constants of B200 and its own data sheet.

| unseen shapes of, MAPE % | time | power | energy | rows | 90 % interval of energy covers % | width | data sheet's |
|---|---|---|---|---|---|---|---|"""
WHY = """
The power column is an average over at most four readings of runs that last 0.05 to 1 s, of boards that average over a
second: two long kernels at the same rates, (9, 65536, 7168) and (10, 12288, 65536) on H200, read 637 W and 364 W. That
spread bounds what any model can reach on these rows; fp8_block on H200, launched one kernel at a time, is worst. The
correction for it belongs to this comparison: the energy of a plan is the steady one."""


def section() -> str:
    """The figures as markdown."""
    lines, errors = [HEAD], []
    for generation in DEVICES:
        with contextlib.redirect_stdout(io.StringIO()):
            found = study(runs(generation))
        for one, (time_s, watt, joule, least) in found:
            rows = one.rows
            measured = one.watt * rows.measured
            error = {
                "time": np.abs(time_s / rows.measured - 1),
                "power": np.abs(watt / one.watt - 1),
                "energy": np.abs(joule / measured - 1),
            }
            coverage, width = checked_interval(measured, joule)
            light = np.quantile(measured / least, [0.05, 0.95])
            errors.append(error["energy"])
            lines.append(
                f"| {one.device.name} {one.variant} | {100 * error['time'].mean():.1f} | "
                f"{100 * error['power'].mean():.1f} | {100 * error['energy'].mean():.1f} | {len(measured)} | "
                f"{100 * coverage:.0f} | {width:.2f} | {light[1] - light[0]:.0f} |"
            )
    every = 100 * np.concatenate(errors)
    lines.append(f"| all, pooled (must 20, aim 12) | | | {every.mean():.1f} | {len(every)} | | | |")
    return "\n".join([*lines, WHY, "", f"Command: {COMMAND}."])


def study(all_runs: list[Runs]) -> list[tuple[Runs, tuple[np.ndarray, ...]]]:
    """Unseen time, power and energy of every variant of one generation, and the data sheet's energy."""
    times = {one.variant: time_constants(one) for one in all_runs}
    values = steady(all_runs, {variant: constants for variant, (constants, _) in times.items()})
    of_time = {key: value for constants, _ in times.values() for key, value in constants.items()}
    device = stacks.under(changed(all_runs[0].device, {**of_time, **values}), gemm_energy.STACK)
    out = []
    for one in all_runs:
        time_s = times[one.variant][1]
        watt = sampler(one, device, time_s).unseen_watt
        least_s, least_watt = gemm_energy.steady_watt(one.rows.ops, device, "limit")
        out.append((one, (time_s, watt, watt * time_s, least_s * least_watt)))
    return out
