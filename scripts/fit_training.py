"""Fits what each training framework adds to its kernels on measured/training_step.csv.

    AISYS_TABLES=FOLDER python scripts/fit_training.py [FRAMEWORK ...]

Kernels, transfers and memory are priced once; only what a framework makes of them moves. A few constants per framework
are fitted to log time, pulled to priors where the rows say little. The interval comes from folds over model shapes:
each shape is predicted by a fit that has not seen it.
"""

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from fitting import Free, tables_folder
from scipy.optimize import least_squares

from aisys.lower import framework as frameworks
from aisys.lower.framework import Framework, framework
from aisys.lower.shares import Setting, Shop
from aisys.lower.step import Steps, evaluate_steps
from aisys.plan import PlanTable
from aisys.units import Sourced
from aisys.validate import Options, read_table
from aisys.validate import training_step as rows_of

SOURCE = "scripts/fit_training.py on measured/training_step.csv"
PRIOR_WEIGHT, NUM_FOLDS = 0.04, 5
SMALL_SAMPLE = 4.0
"""Intervals from n rows are widened by 1 + SMALL_SAMPLE / sqrt(n) in log: few rows, of one or two sources, show few of
the extremes that other clusters and model families will. Assumed."""

_EAGER = (
    Free("host_s_per_forward_kernel", 1.2e-5, 2e-6, 6e-5), Free("host_s_per_backward_kernel", 1.0e-5, 2e-6, 6e-5),
    Free("host_s_per_transfer", 3e-5, 1e-6, 4e-4), Free("host_s_per_microbatch", 2e-3, 1e-4, 3e-2),
    Free("step_s", 1e-2, 5e-4, 1e-1), Free("compute_factor", 1.06, 0.9, 1.4), Free("stream_factor", 1.0, 0.6, 2.0),
    Free("gradient_factor", 1.5, 0.7, 6.0), Free("send_factor", 1.2, 0.7, 6.0),
)  # fmt: skip
FREE = {
    "megatron-deepspeed": _EAGER,
    "megatron": (
        Free("compute_factor", 1.06, 0.9, 1.4), Free("stream_factor", 1.0, 0.6, 2.0),
        Free("send_factor", 1.2, 0.7, 4.0),
    ),
    "megatron-core": (
        Free("compute_factor", 1.05, 0.9, 1.4), Free("fp8_factor", 1.0, 0.5, 1.6),
        Free("grouped_factor", 1.0, 0.5, 2.0), Free("grouped_fp8_factor", 1.2, 0.5, 3.0),
        Free("attention_factor", 1.1, 0.6, 2.0), Free("stream_factor", 1.1, 0.6, 3.0),
        Free("tensor_overlap", 0.5, 0.05, 1.0), Free("send_overlap", 0.8, 0.05, 1.0),
    ),
    "torchtitan": (Free("compute_factor", 1.2, 0.9, 1.6), Free("attention_factor", 1.5, 0.8, 3.0)),
    "torchtitan-eager": (Free("compute_factor", 1.2, 0.9, 1.6),),
}  # fmt: skip
"""torchtitan's attention is FlashAttention-2 through torch; the op model was fitted on FlashAttention-3 kernels."""


@dataclass(frozen=True)
class Bench:
    """The rows of one framework with their blocks priced: seconds under other constants cost no further pricing."""

    base: Framework
    rows: list[int]
    groups: list[tuple[Shop, PlanTable, list[int]]]
    measured: np.ndarray
    shapes: list[str]

    def steps(self, used: Framework) -> list[tuple[Steps, list[int]]]:
        """Every group's steps with the places of its rows."""
        place = {row: i for i, row in enumerate(self.rows)}
        return [(evaluate_steps(s.under(used), plans), [place[r] for r in at]) for s, plans, at in self.groups]

    def seconds(self, used: Framework) -> np.ndarray:
        """Predicted seconds of every row."""
        out = np.full(len(self.rows), np.nan)
        for steps, places in self.steps(used):
            out[places] = steps.time_s
        return out


def bench(name: str) -> Bench:
    """The rows of framework `name`."""
    table = read_table(tables_folder() / "training_step.csv")
    cases, _ = rows_of.read_cases(table, Options())
    mine = {row: case for row, case in cases.items() if case.framework == name}
    base = framework(name)
    groups = []
    for case, rows in rows_of.grouped(mine).items():
        graph = rows_of.graph_of(case.shape, name)
        shop = Shop(Setting(graph=graph, machine=case.machine, framework=base))
        groups.append((shop, PlanTable.of([mine[r].plan for r in rows]), rows))
    rows = sorted(mine)
    return Bench(
        base=base, rows=rows, groups=groups, measured=rows_of.measured_s(table)[rows],
        shapes=["/".join((*mine[r].shape, mine[r].plan.precision)) for r in rows],
    )  # fmt: skip


def changed(base: Framework, values: Mapping[str, float]) -> Framework:
    """`base` with some constants replaced."""
    new = {n: Sourced(v, source=SOURCE, kind="fitted", key=f"{base.name}.{n}") for n, v in values.items()}
    return replace(base, **new)


def fit(data: Bench, free: Sequence[Free], chosen: np.ndarray) -> dict[str, float]:
    """The constants of least robust log error on the chosen rows."""
    low, high, prior = (np.log([getattr(f, n) for f in free]) for n in ("low", "high", "prior"))

    def errors(x: np.ndarray) -> np.ndarray:
        used = changed(data.base, dict(zip((f.key for f in free), np.exp(x), strict=True)))
        off = np.log(data.seconds(used) / data.measured)[chosen]
        return np.concatenate([np.where(np.isfinite(off), off, 0.0), PRIOR_WEIGHT * np.sqrt(len(off)) * (x - prior)])

    start = np.clip(prior, low + 1e-3, high - 1e-3)
    found = least_squares(errors, start, bounds=(low, high), loss="soft_l1", f_scale=0.1, diff_step=1e-2, max_nfev=12)
    return dict(zip((f.key for f in free), np.exp(found.x).tolist(), strict=True))


def unseen(data: Bench, free: Sequence[Free]) -> np.ndarray:
    """Measured over predicted, every shape predicted by a fit that has not seen it."""
    ratios = np.full(len(data.rows), np.nan)
    names = sorted(set(data.shapes))
    for fold in range(min(NUM_FOLDS, len(names))):
        held = np.array([names.index(s) % NUM_FOLDS == fold for s in data.shapes])
        if held.all():
            continue
        used = changed(data.base, fit(data, free, ~held))
        ratios[held] = (data.measured / data.seconds(used))[held]
    return ratios[np.isfinite(ratios)]


def interval(ratios: np.ndarray) -> tuple[float, float]:
    """The 5th and 95th percentile of measured over predicted, wider for few rows, never without the prediction."""
    wider = 1.0 + SMALL_SAMPLE / np.sqrt(len(ratios))
    low, high = np.exp(np.quantile(np.log(ratios), [0.05, 0.95]) * wider)
    return min(float(low), 0.97), max(float(high), 1.03)


def write(name: str, values: Mapping[str, float]) -> None:
    """Put fitted constants in the place of those of the same name in the framework's file."""
    path = Path(frameworks.FOLDER) / f"{name}.toml"
    head, *groups = path.read_text().split("[[facts]]")
    kept = []
    for group in groups:
        lines = [line for line in group.splitlines() if line.strip()]
        if SOURCE in group:
            continue
        kept.append("\n".join(line for line in lines if line.split(" = ")[0] not in values))
    lines = [f"{key} = {value:.4g}" for key, value in values.items()]
    fitted = "\n".join([f'source = "{SOURCE}"', 'kind = "fitted"', *lines])
    path.write_text("\n\n".join([head.strip(), *(f"[[facts]]\n{group}" for group in (*kept, fitted))]) + "\n")


def summary(ratios: np.ndarray) -> str:
    """MAPE, median and bias of the predictions behind `ratios`."""
    off = 1 / ratios - 1
    return f"MAPE {np.mean(np.abs(off)):.3f}  median {np.median(np.abs(off)):.3f}  bias {np.mean(off):+.3f}"


def main(names: Sequence[str]) -> None:
    """Fit the named frameworks, or all that have rows."""
    for name in names or FREE:
        data, free = bench(name), FREE[name]
        ratios = unseen(data, free)
        found = fit(data, free, np.ones(len(data.rows), bool))
        seen = data.measured / data.seconds(changed(data.base, found))
        bounds = dict(zip(("error_low", "error_high"), interval(ratios), strict=True)) if len(ratios) > 4 else {}
        print(f"{name}: {len(data.rows)} rows\n  seen    {summary(seen)}")
        if len(ratios):
            print(f"  unseen  {summary(ratios)}")
        by_part: dict[str, list[float]] = defaultdict(list)
        for shape, ratio in zip(data.shapes, seen, strict=True):
            by_part[shape[:28]].append(1 / ratio)
        print("  " + "  ".join(f"{k}:{np.mean(v):.2f}" for k, v in list(by_part.items())[:30]))
        write(name, {**found, **bounds})
        print("  " + ", ".join(f"{k} {v:.3g}" for k, v in {**found, **bounds}.items()))


if __name__ == "__main__":
    main(sys.argv[1:])
