"""Matrix multiplication: unseen shapes, larger shapes, unseen generations, number formats, intervals, speed."""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from fit_matmul import DEVICES, FREE, NUM_FOLDS, Rows, calibrated, few_rows, free_of, gemm_rows
from fitting import checked_interval, fit, regression, tables_folder, unseen

from aisys.cost import cost
from aisys.machine import Gpu, load
from aisys.validate import gemm
from aisys.validate.table import Table, read_table

COMMAND = "`python benchmarks/make_accuracy.py`; fits: `python scripts/fit_matmul.py`"
LOW = ("fp8", "nvfp4", "int8", "int8_wo", "int4_wo")
TARGETS = {"bf16": ("9 / 6", "7 / 5"), "low precision": ("13", "9"), "fp8_block": ("-", "-")}

HEAD = """## Matrix multiplication

Kernels in CUDA graphs on A100, H100 and B200, median over software stacks. Unseen: folds by weight shape (n, k), as
the rows that are kept apart were drawn. Larger: fitted on the three quarters of least m n k, asked for the rest. The
regressions know no physics: a quadratic in the logarithms of m, n and k, and a kernel regression over them; one per
device and format.

| figure, MAPE % | analytic | calibrated | must | aim | rows | kernel regression | quadratic | data sheet |
|---|---|---|---|---|---|---|---|---|"""
FAR = """
| larger shapes than any fitted, MAPE % | analytic | kernel regression | quadratic | rows |
|---|---|---|---|---|"""
DETAIL = """
| unseen shapes of | MAPE % | median % | over 20 us % | calibrated % | rows | interval covers % | width | data sheet's |
|---|---|---|---|---|---|---|---|---|"""
OTHERS = """
| a generation or device that no fit has seen, bf16 | MAPE % | must | aim | rows | 90 % interval covers % |
|---|---|---|---|---|---|"""

ADA = """
L40S is priced with constants fitted on RTX 4090 (same chip family, half its rate per clock in bf16; 3.9 % on unseen
shapes), the energy per operation of RTX PRO 6000 under its power limit (same process), its own data sheet, and two
assumptions: error correction takes 10 % of the memory's bandwidth, and power at the full clock slows large kernels to
about 0.78 of the peak. Its 8-bit and 4-bit formats take the step from bf16 that A100 and H100 make."""

Errors = dict[str, np.ndarray]


def ape(rows: Rows, guess: np.ndarray, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Relative errors in percent."""
    return np.asarray(100 * np.abs(guess / rows.measured[chosen] - 1))


def kernel_regression(rows: Rows, seen: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Times of the rows `asked` by the mean of similar rows in log shape; the best width on the rows `seen`."""
    shape = np.log2(np.stack([rows.ops[x].astype(float) for x in ("m", "n", "k")], axis=1))
    log, apart = np.log(rows.measured), ((shape[:, None] - shape) ** 2).sum(axis=2)

    def mean(width: float, of: np.ndarray, by: np.ndarray, is_self: bool) -> np.ndarray:
        near = np.exp(-apart[np.ix_(of, by)] / (2 * width**2)) + 1e-300
        if is_self:
            np.fill_diagonal(near, 1e-300)
        return np.asarray((near @ log[by]) / near.sum(axis=1))

    widths = (0.4, 0.6, 0.8, 1.0, 1.4)
    losses = [np.abs(mean(width, seen, seen, True) - log[seen]).mean() for width in widths]
    return np.asarray(np.exp(mean(widths[int(np.argmin(losses))], asked, seen, False)))


def shape_of(rows: Rows) -> np.ndarray:
    """What the quadratic is given of every row."""
    return np.stack([rows.ops[x].astype(float) for x in ("m", "n", "k")], axis=1)


def study(rows: Rows) -> tuple[Errors, str]:
    """The errors of every method on one device and format, and its line of details."""
    gpu = rows.device.architecture
    assert isinstance(gpu, Gpu)
    free = free_of(rows, {f.key: float(gpu.constant(f"matmul.bf16.{f.key}")) for f in FREE})
    guess = unseen(rows.predict, rows.measured, free, rows.shapes)
    better = calibrated(rows, guess)
    fold = np.random.default_rng(2).permutation(rows.shapes.max() + 1)[rows.shapes] % NUM_FOLDS
    kernel, plain = np.zeros(len(guess)), np.zeros(len(guess))
    for number in range(NUM_FOLDS):
        seen, asked = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        kernel[asked] = kernel_regression(rows, seen, asked)
        plain[asked] = regression(shape_of(rows), rows.measured, seen, asked)
    work = shape_of(rows).prod(axis=1)
    seen, far = np.flatnonzero(work <= np.quantile(work, 0.75)), np.flatnonzero(work > np.quantile(work, 0.75))
    errors = {
        "ours": ape(rows, guess), "calibrated": ape(rows, better), "kernel": ape(rows, kernel),
        "plain": ape(rows, plain), "light": ape(rows, rows.floor(rows.every)),
        "far": ape(rows, rows.predict(fit(rows.predict, rows.measured, free, seen, 2), far), far),
        "far kernel": ape(rows, kernel_regression(rows, seen, far), far),
        "far plain": ape(rows, regression(shape_of(rows), rows.measured, seen, far), far),
    }  # fmt: skip
    return errors, detail(rows, guess, errors)


def detail(rows: Rows, guess: np.ndarray, errors: Errors) -> str:
    """The line of one device and format: errors, and intervals from one half of the rows tried on the other."""
    coverage, width = checked_interval(rows.measured, guess)
    light = np.quantile(rows.measured / rows.floor(rows.every), [0.05, 0.95])
    ours, is_long = errors["ours"], rows.measured > 20e-6
    return (
        f"| {rows.device.name} {rows.variant} | {ours.mean():.1f} | {np.median(ours):.1f} | "
        f"{ours[is_long].mean():.1f} | {errors['calibrated'].mean():.1f} | {len(guess)} | {100 * coverage:.0f} | "
        f"{width:.2f} | {light[1] - light[0]:.0f} |"
    )


def pooled(found: dict[str, Errors], variants: Sequence[str], name: str) -> float:
    """The mean error of one method over all rows of some formats."""
    return float(np.concatenate([e[name] for key, e in found.items() if key.split()[1] in variants]).mean())


def section() -> str:
    """The figures as markdown."""
    table = read_table(tables_folder() / "gpu_gemm.csv")
    found: dict[str, Errors] = {}
    details = [DETAIL]
    for generation, device in DEVICES.items():
        for dtype in sorted(set(table.take(table.texts("device") == device).texts("dtype"))):
            rows = gemm_rows(table, generation, str(dtype))
            found[rows.name], line = study(rows)
            details.append(line)
    lines, far = [HEAD], [FAR]
    for label, variants in (("bf16", ("bf16",)), ("low precision", LOW), ("fp8_block", ("fp8_block",))):
        must, aim = TARGETS[label]
        num = sum(len(e["ours"]) for key, e in found.items() if key.split()[1] in variants)
        values = {name: pooled(found, variants, name) for name in next(iter(found.values()))}
        lines.append(
            f"| {label}, pooled | {values['ours']:.1f} | {values['calibrated']:.1f} | {must} | {aim} | {num} | "
            f"{values['kernel']:.1f} | {values['plain']:.1f} | {values['light']:.1f} |"
        )
        far.append(
            f"| {label}, pooled | {values['far']:.1f} | {values['far kernel']:.1f} | {values['far plain']:.1f} | "
            f"{sum(len(e['far']) for key, e in found.items() if key.split()[1] in variants)} |"
        )
    return "\n".join([*lines, *far, *details, *strangers(table), "", speed(), "", f"Command: {COMMAND}."])


def strangers(table: Table) -> list[str]:
    """Devices whose rows no fit has seen: B200 with what H100 and documents give, H200 from its data sheet."""
    out = [OTHERS]
    power = read_table(tables_folder() / "gpu_gemm_power.csv")
    b200 = load.device("b200", constants="transfer")
    for label, name, device, rows, column, must, aim in (
        ("B200 from A100 and H100", "B200-SXM", b200, table, "us_median", 15, 11),
        ("H200 from its data sheet (power runs)", "H200-SXM-141GB", load.device("h200"), power, "us", 9, 8),
    ):
        mine = rows.take((rows.texts("device") == name) & (rows.texts("dtype") == "bf16"))
        priced = cost(gemm.op_table(mine), device)
        ratio = mine.numbers(column) * 1e-6 / priced.time_s
        covered = (ratio >= priced.error_low) & (ratio <= priced.error_high)
        error = 100 * np.abs(1 / ratio - 1).mean()
        out.append(f"| {label} | {error:.1f} | {must} | {aim} | {len(mine)} | {100 * covered.mean():.0f} |")
    out.append(ada())
    out.append("| L40S from its data sheet | no rows here | 30 | 15 | 0 | - |")
    return [*out, ADA]


def ada() -> str:
    """The line of the nearest board to L40S that has rows, with constants that none of these rows has touched."""
    rows, a100 = few_rows("sm89 bf16"), load.device("a100-80-sxm").architecture
    gpu = rows.device.architecture
    assert isinstance(a100, Gpu)
    assert isinstance(gpu, Gpu)
    priced = cost(rows.ops, replace(rows.device, architecture=replace(gpu, constants=a100.constants)))
    ratio = rows.measured / priced.time_s
    covered = 100 * ((ratio >= priced.error_low) & (ratio <= priced.error_high)).mean()
    error = 100 * np.abs(1 / ratio - 1).mean()
    return f"| RTX 4090 (Ada) from A100 and its data sheet | {error:.1f} | - | - | {len(ratio)} | {covered:.0f} |"


def speed() -> str:
    """Predictions per second of one core, in CPU time, of a large table and of a small one: the best of many runs."""
    table = read_table(tables_folder() / "gpu_gemm.csv")
    mine = gemm.op_table(table.take((table.texts("device") == DEVICES["sm90"]) & (table.texts("dtype") == "bf16")))
    device, small = load.device("h100-sxm"), mine.take(np.arange(30))
    rates = []
    for ops, repeats in ((mine.take(np.arange(3000) % len(mine)), 10), (small, 200)):
        seconds = []
        for _ in range(repeats):
            start = time.process_time()
            cost(ops, device)
            seconds.append(time.process_time() - start)
        rates.append(len(ops) / min(seconds))
    return (
        f"Speed on one core of the machine that made this page: {rates[0]:,.0f} matmuls per second in a table of 3,000 "
        f"(target 100,000), {1e3 * 30 / rates[1]:.2f} ms for a table of 30 (CPU time, the best of many runs)."
    )
