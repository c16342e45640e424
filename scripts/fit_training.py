"""Fits what training frameworks add to their kernels on measured/training_step.csv.

    AISYS_TABLES=FOLDER python scripts/fit_training.py [FAMILY ...]

Kernels, transfers and memory are priced once; only what a framework makes of them moves. A few constants per family of
frameworks are fitted to log time, pulled to priors where the rows say little. Rows that differ only in depth, replicas
or microbatches weigh as one. Errors and intervals come from fits that have not seen the rows they predict: folds over
model shapes, the largest models, and the widest tensor-parallel groups.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from fitting import tables_folder
from scipy.optimize import least_squares

from aisys.lower import framework as frameworks
from aisys.lower import memory
from aisys.lower.framework import Framework, framework
from aisys.lower.shares import Setting, Shop
from aisys.lower.step import Steps, evaluate_steps
from aisys.plan import PlanTable
from aisys.units import GiB, Sourced
from aisys.validate import Options, Table, read_table
from aisys.validate import training_step as rows_of

SOURCE = "scripts/fit_training.py on measured/training_step.csv"
NUM_FOLDS, MAX_EVALUATIONS = 4, 14
PRIOR_WEIGHT = {"torchtitan": 0.2}
"""How strongly a constant is pulled to its prior, per e-fold, in the unit of one cell's log error; 0.05 elsewhere."""
FEW_ROWS = 1.5
"""Intervals from n cells are widened by 1 + FEW_ROWS / sqrt(n) in log: few rows of one or two sources show few of the
extremes that other clusters and model families will. Assumed."""


@dataclass(frozen=True)
class Free:
    """One constant to fit in log space, the same for all its frameworks."""

    key: str
    prior: float
    low: float
    high: float
    frameworks: tuple[str, ...]

    @property
    def name(self) -> str:
        """The constant and where it holds."""
        return f"{'+'.join(self.frameworks)}.{self.key}"


def _free(names: tuple[str, ...], **ranges: tuple[float, float, float]) -> tuple[Free, ...]:
    return tuple(Free(key, *values, names) for key, values in ranges.items())


TITAN = ("torchtitan", "torchtitan-2024", "torchtitan-eager")
FAMILIES: dict[str, tuple[Free, ...]] = {
    "megatron-deepspeed": _free(
        ("megatron-deepspeed",), host_s_per_forward_kernel=(6e-5, 2e-6, 3e-4),
        host_s_per_backward_kernel=(5e-5, 2e-6, 3e-4), host_s_per_transfer=(3e-5, 1e-6, 4e-4),
        host_s_per_microbatch=(2e-3, 1e-4, 3e-2), step_s=(1e-3, 1e-4, 1e-1), compute_factor=(1.06, 0.9, 1.4),
        stream_factor=(1.0, 0.6, 2.0), gradient_factor=(1.5, 0.7, 6.0),
    ),
    "megatron": _free(("megatron",), compute_factor=(1.06, 0.9, 1.4), stream_factor=(1.0, 0.6, 2.0)),
    "megatron-core": _free(
        ("megatron-core",), compute_factor=(1.15, 0.9, 1.4), device_spread=(0.004, 0.0005, 0.03),
        fp8_factor=(1.0, 0.5, 1.6), grouped_factor=(1.0, 0.5, 2.0), grouped_fp8_factor=(1.2, 0.5, 3.0),
        tensor_overlap=(0.5, 0.05, 1.0), send_overlap=(0.8, 0.05, 1.0),
    ),
    "torchtitan": (
        *_free(TITAN, compute_factor=(1.15, 0.9, 1.6), fp8_factor=(1.0, 0.5, 2.0)),
        *_free(TITAN[:1], attention_factor=(1.6, 0.8, 4.0)),
        *_free(TITAN[1:], attention_factor=(2.0, 0.8, 5.0)),
        *_free(TITAN[2:], stream_factor=(3.0, 1.0, 9.0)),
    ),
}  # fmt: skip
"""torchtitan's attention is FlashAttention-2 through torch, where the op model was fitted on FlashAttention-3 kernels;
without a compiler every norm, rotation and gate is a row of kernels."""


@dataclass(frozen=True)
class Bench:
    """The rows of one family with their blocks priced: seconds under other constants cost no further pricing."""

    family: str
    table: Table
    base: dict[str, Framework]
    cases: dict[int, rows_of.Case]
    groups: list[tuple[Shop, PlanTable, list[int]]]
    measured: np.ndarray

    @property
    def rows(self) -> list[int]:
        """Rows of the table, in the order of `measured`."""
        return sorted(self.cases)

    def steps(self, used: Mapping[str, Framework]) -> list[tuple[Steps, list[int]]]:
        """Every group's steps with the places of its rows."""
        place = {row: i for i, row in enumerate(self.rows)}
        return [
            (evaluate_steps(shop.under(used[shop.setting.framework.name]), plans), [place[r] for r in at])
            for shop, plans, at in self.groups
        ]

    def seconds(self, used: Mapping[str, Framework], chosen: np.ndarray | None = None) -> np.ndarray:
        """Predicted seconds of every row; of the chosen ones and those priced with them where `chosen` is given."""
        out = np.full(len(self.rows), np.nan)
        place = {row: i for i, row in enumerate(self.rows)}
        for shop, plans, at in self.groups:
            places = [place[row] for row in at]
            if chosen is None or chosen[places].any():
                out[places] = evaluate_steps(shop.under(used[shop.setting.framework.name]), plans).time_s
        return out

    @cached_property
    def depth_ends(self) -> np.ndarray:
        """Whether a row's model is the shallowest or the deepest of its shape: depths between them teach nothing."""
        graphs = [rows_of.graph_of(self.cases[r].shape, self.cases[r].framework) for r in self.rows]
        layers = np.array([len(graph.layers) for graph in graphs])
        same = [layers[self.shapes == shape] for shape in self.shapes]
        return np.array([depth in (of.min(), of.max()) for depth, of in zip(layers, same, strict=True)])

    def column(self, name: str) -> np.ndarray:
        """The cells of a column of the table."""
        return self.table.texts(name)[self.rows]

    @cached_property
    def shapes(self) -> np.ndarray:
        """The model of each row, whatever its depth; of models with experts, of which there is one, its devices too."""
        names = ("model", "hidden", "heads", "ffn")
        models = ["/".join(cells) for cells in zip(*map(self.column, names), strict=True)]
        return np.array([
            f"{model}/{devices}" if ep > 1 else model
            for model, devices, ep in zip(models, self.column("devices"), self.experts, strict=True)
        ])  # fmt: skip

    @cached_property
    def experts(self) -> np.ndarray:
        """The expert-parallel degree of each row."""
        return np.array([self.cases[row].plan.expert for row in self.rows])

    @cached_property
    def weights(self) -> np.ndarray:
        """Weight of each row: rows of one cell share the weight of one."""
        names = ("source", "precision", "tp", "pp", "micro_batch", "recompute")
        keys = ["/".join(cells) for cells in zip(self.shapes, *map(self.column, names), strict=True)]
        number = Counter(keys)
        return np.array([1.0 / number[key] for key in keys])

    @cached_property
    def work(self) -> np.ndarray:
        """Elements of a layer, which order models by size."""
        graphs = {row: rows_of.graph_of(case.shape, case.framework) for row, case in self.cases.items()}
        layers = {row: graph.segments[1].block for row, graph in graphs.items()}
        sizes = {row: sum(t.num_elements for t in layer.tensors_of("weight")) for row, layer in layers.items()}
        return np.array([sizes[row] for row in self.rows], float)


def bench(family: str, tier: str = "analytic") -> Bench:
    """The rows of a family."""
    table = read_table(tables_folder() / "training_step.csv")
    cases, _ = rows_of.read_cases(table, Options())
    names = {name for free in FAMILIES[family] for name in free.frameworks}
    mine = {row: case for row, case in cases.items() if case.framework in names}
    base = {name: framework(name) for name in names}
    groups = []
    for case, rows in rows_of.grouped(mine).items():
        graph = rows_of.graph_of(case.shape, case.framework)
        shop = Shop(Setting(graph=graph, machine=case.machine, framework=base[case.framework], tier=tier))
        groups.append((shop, PlanTable.of([mine[r].plan for r in rows]), rows))
    measured = rows_of.measured_s(table)[sorted(mine)]
    return Bench(family=family, table=table, base=base, cases=mine, groups=groups, measured=measured)


def changed(base: Mapping[str, Framework], free: Sequence[Free], values: Sequence[float]) -> dict[str, Framework]:
    """The frameworks with the free constants replaced."""
    out = dict(base)
    for one, value in zip(free, values, strict=True):
        for name in one.frameworks:
            number = Sourced(float(value), source=SOURCE, kind="fitted", key=f"{name}.{one.key}")
            out[name] = replace(out[name], **{one.key: number})
    return out


def fit(data: Bench, free: Sequence[Free], chosen: np.ndarray) -> np.ndarray:
    """The constants of least robust log error on the chosen rows."""
    pull = PRIOR_WEIGHT.get(data.family, 0.05)
    low, high, prior = (np.log([getattr(f, n) for f in free]) for n in ("low", "high", "prior"))
    chosen = chosen & data.depth_ends
    weights = np.sqrt(data.weights[chosen])

    def errors(x: np.ndarray) -> np.ndarray:
        off = np.log(data.seconds(changed(data.base, free, np.exp(x)), chosen) / data.measured)[chosen]
        return np.concatenate([np.where(np.isfinite(off), off, 0.0) * weights, pull * (x - prior)])

    start = np.clip(prior, low + 1e-3, high - 1e-3)
    found = least_squares(
        errors, start, bounds=(low, high), loss="soft_l1", f_scale=0.05, diff_step=1e-2, max_nfev=MAX_EVALUATIONS
    )
    return np.exp(found.x)


def splits(data: Bench) -> dict[str, list[np.ndarray]]:
    """What is held out, by name of the question: masks of the rows that a fit does not see.

    A shape that most rows have is never held out as a whole; its largest microbatches are.
    """
    number = Counter(data.shapes.tolist())
    usual = {shape for shape in number if 2 * number[shape] > len(data.rows)}
    shapes = sorted(set(number) - usual)
    places = np.array([shapes.index(s) if s in shapes else -1 for s in data.shapes])
    folds = [(places >= 0) & (places % NUM_FOLDS == fold) for fold in range(NUM_FOLDS)]
    micro_batch = np.array([data.cases[row].plan.micro_batch for row in data.rows])
    busiest = (places < 0) & (micro_batch >= np.median(micro_batch) * 2)
    tensor, dense = np.array(data.column("tp"), int), data.experts == 1
    largest = dense & (data.work > np.quantile(np.unique(data.work[dense]), 0.6))
    widest = dense & (tensor == tensor[dense].max())
    found = {"shapes": folds, "largest models": [largest], "widest tensor groups": [widest]}
    found["largest microbatches"] = [busiest]
    return {
        name: [mask for mask in masks if mask.any() and data.weights[~mask].sum() >= 3] for name, masks in found.items()
    }


def unseen(data: Bench, free: Sequence[Free]) -> tuple[np.ndarray, np.ndarray]:
    """log(measured / predicted) of rows by fits that have not seen them, over all splits, and their weights."""
    ratios, weights = [], []
    for name, masks in splits(data).items():
        off, at = [], []
        for held in masks:
            predicted = data.seconds(changed(data.base, free, fit(data, free, ~held)))
            off.append(np.log(data.measured / predicted)[held])
            at.append(data.weights[held])
        if off:
            print(f"  unseen {name:22s} {summary(np.concatenate(off), np.concatenate(at))}")
            ratios += off
            weights += at
    if not ratios:
        return np.zeros(0), np.zeros(0)
    return np.concatenate(ratios), np.concatenate(weights)


def interval(logs: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """The 5th and 95th percentile of measured over predicted, wider for few cells, never without the prediction."""
    order = np.argsort(logs)
    place = np.cumsum(weights[order]) - weights[order] / 2
    low, high = np.interp([0.05, 0.95], place / weights.sum(), logs[order])
    wider = 1.0 + FEW_ROWS / np.sqrt(weights.sum())
    return min(float(np.exp(low * wider)), 0.96), max(float(np.exp(high * wider)), 1.04)


def of_limit(family: str) -> tuple[float, float]:
    """The interval of the data-sheet tier: 5th and 95th percentile of measured over its time."""
    data = bench(family, "limit")
    logs = np.log(data.measured / data.seconds(data.base))
    order = np.argsort(logs)
    place = np.cumsum(data.weights[order]) - data.weights[order] / 2
    low, high = np.interp([0.05, 0.95], place / data.weights.sum(), logs[order])
    return float(np.exp(low)), float(np.exp(high))


def fit_memory(data: Bench) -> tuple[float, float, float]:
    """What the allocator keeps relative to what activations fill, with the interval of rows left out one by one."""
    measured = np.array([float(cell) if cell else np.nan for cell in data.column("memory_GiB")]) * GiB
    parts = np.full((2, len(data.rows)), np.nan)
    moving = [memory.PARTS.index(name) for name in ("activations", "working")]
    for steps, places in data.steps(data.base):
        factor = float(data.base[data.cases[data.rows[places[0]]].framework].activation_factor)
        parts[1, places] = steps.memory_bytes[:, moving].sum(1) / factor
        parts[0, places] = steps.peak_memory_bytes - parts[1, places] * factor
    known = np.isfinite(measured)
    each = (measured - parts[0])[known] / parts[1][known]
    left_out = [np.delete(each, i).mean() for i in range(len(each))]
    logs = np.log(measured[known] / (parts[0][known] + parts[1][known] * left_out))
    print(f"  unseen memory                 {summary(logs, np.ones(len(logs)))}")
    return float(each.mean()), *interval(logs, np.ones(len(logs)))


def summary(logs: np.ndarray, weights: np.ndarray) -> str:
    """MAPE, median and bias of predictions whose log(measured / predicted) is given."""
    off = np.expm1(-logs)
    mean, bias = np.average(np.abs(off), weights=weights), np.average(off, weights=weights)
    return f"rows {len(logs):3d}  MAPE {mean:.3f}  median {np.median(np.abs(off)):.3f}  bias {bias:+.3f}"


def write(name: str, values: Mapping[str, float]) -> None:
    """Put fitted constants in the place of those of the same name in the framework's file."""
    path = Path(frameworks.FOLDER) / f"{name}.toml"
    head, *groups = path.read_text().split("[[facts]]")
    kept = []
    for group in groups:
        lines = [line for line in group.splitlines() if line.strip() and line.split(" = ")[0] not in values]
        if SOURCE not in group:
            kept.append("\n".join(lines))
        elif len(lines) > 2:
            raise SystemExit(f"{path.name}: {lines[2]} was fitted and is no longer; give it an assumed value first")
    lines = [f"{key} = {value:.4g}" for key, value in values.items()]
    fitted = "\n".join([f'source = "{SOURCE}"', 'kind = "fitted"', *lines])
    path.write_text("\n\n".join([head.strip(), *(f"[[facts]]\n{group}" for group in (*kept, fitted))]) + "\n")


def fit_family(family: str) -> None:
    """Fit one family, report, and write the files of its frameworks."""
    data, free = bench(family), FAMILIES[family]
    print(f"{family}: {len(data.rows)} rows in {data.weights.sum():.0f} cells")
    found = fit(data, free, np.ones(len(data.rows), bool))
    used = changed(data.base, free, found)
    seen = np.log(data.measured / data.seconds(used))
    print(f"  seen                          {summary(seen, data.weights)}")
    logs, weights = unseen(data, free)
    if len(logs) < 5:
        logs, weights = seen, data.weights
    values: dict[str, float] = dict(zip(("error_low", "error_high"), interval(logs, weights), strict=True))
    values |= dict(zip(("limit_error_low", "limit_error_high"), of_limit(family), strict=True))
    if any(data.column("memory_GiB")):
        names = ("activation_factor", "memory_error_low", "memory_error_high")
        values |= dict(zip(names, fit_memory(replace(data, base=used)), strict=True))
    for name in sorted(data.base):
        own = {one.key: value for one, value in zip(free, found.tolist(), strict=True) if name in one.frameworks}
        write(name, {**own, **values})
    print("  " + ", ".join(f"{one.name} {value:.3g}" for one, value in zip(free, found.tolist(), strict=True)))
    print("  " + ", ".join(f"{key} {value:.3g}" for key, value in values.items()))


if __name__ == "__main__":
    for chosen in sys.argv[1:] or FAMILIES:
        fit_family(chosen)
