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
from held_out import Held, interval, logs_of, record, summary
from scipy.optimize import least_squares

import aisys.lower.sweep  # noqa: F401  compiled schedules: the same times, sooner
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
MAX_EVALUATIONS = 8
SPREADS = {"megatron-core": 0.004}
"""Families with a spread of devices, and what it is where no rows differ in their number alone. Assumed."""
PRIOR_WEIGHT = {"torchtitan": 0.2}
"""How strongly a constant is pulled to its prior, per e-fold, in the unit of one cell's log error; 0.05 elsewhere."""


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
        ("megatron-core",), compute_factor=(1.15, 0.9, 1.4), fp8_factor=(1.0, 0.5, 1.6), expert_factor=(1.1, 0.7, 2.0),
        expert_fp8_factor=(1.3, 0.7, 3.0), tensor_overlap=(0.5, 0.05, 1.0), send_overlap=(0.8, 0.05, 1.0),
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
    def keys(self) -> np.ndarray:
        """The cell of each row: what it trains and how, whatever the depth, replicas and microbatches."""
        names = ("source", "precision", "tp", "pp", "micro_batch", "recompute")
        return np.array(["/".join(cells) for cells in zip(self.shapes, *map(self.column, names), strict=True)])

    @cached_property
    def weights(self) -> np.ndarray:
        """Weight of each row: rows of one cell share the weight of one."""
        number = Counter(self.keys.tolist())
        return np.array([1.0 / number[key] for key in self.keys.tolist()])


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
            out[name] = replace(out[name], **{one.key: _number(name, one.key, value)})
    return out


def with_spread(data: Bench, chosen: np.ndarray) -> dict[str, Framework]:
    """The frameworks with the spread of devices that cells of several sizes of machine show; as they are where none do.

    A cell's rows differ in replicas alone, so that what grows with sqrt(2 ln N) in log(measured / predicted) is spread.
    """
    devices = np.array(data.column("devices"), float)
    if data.family not in SPREADS or not chosen.any():
        return dict(data.base)
    base = {name: replace(of, device_spread=_number(name, "device_spread", 0.0)) for name, of in data.base.items()}
    off, pace = np.log(data.measured / data.seconds(base, chosen)), np.sqrt(2 * np.log(devices))
    top = bottom = 0.0
    for key in set(data.keys[chosen]):
        rows = chosen & (data.keys == key)
        apart = pace[rows] - pace[rows].mean()
        top, bottom = top + float(apart @ off[rows]), bottom + float(apart @ apart)
    found = max(top / bottom, 0.0) if bottom > 0.1 else SPREADS[data.family]
    return {name: replace(of, device_spread=_number(name, "device_spread", found)) for name, of in base.items()}


def _number(name: str, key: str, value: float) -> Sourced:
    return Sourced(float(value), source=SOURCE, kind="fitted", key=f"{name}.{key}")


def fit(data: Bench, free: Sequence[Free], chosen: np.ndarray) -> dict[str, Framework]:
    """The frameworks with constants of least robust log error on the chosen rows."""
    base = with_spread(data, chosen)
    pull = PRIOR_WEIGHT.get(data.family, 0.05)
    low, high, prior = (np.log([getattr(f, n) for f in free]) for n in ("low", "high", "prior"))
    chosen = chosen & data.depth_ends
    weights = np.sqrt(data.weights[chosen])

    def errors(x: np.ndarray) -> np.ndarray:
        off = np.log(data.seconds(changed(base, free, np.exp(x)), chosen) / data.measured)[chosen]
        return np.concatenate([np.where(np.isfinite(off), off, 0.0) * weights, pull * (x - prior)])

    start = np.clip(prior, low + 1e-3, high - 1e-3)
    found = least_squares(
        errors, start, bounds=(low, high), loss="soft_l1", f_scale=0.05, diff_step=1e-2, max_nfev=MAX_EVALUATIONS
    )
    return changed(base, free, np.exp(found.x))


def splits(data: Bench) -> dict[str, list[np.ndarray]]:
    """What is held out, by name of the question: masks of the rows that a fit does not see.

    A model that most rows have is never held out as a whole; its widest tensor groups and largest microbatches are.
    """
    models = np.array(["/".join(cells) for cells in zip(data.column("model"), data.column("hidden"), strict=True)])
    sources, (devices, tensor) = data.column("source"), (np.array(data.column(n), int) for n in ("devices", "tp"))
    usual = np.array([2 * (models == model).sum() > len(models) for model in models])
    minor = [s for s in sorted(set(sources)) if 2 * (sources == s).sum() < len(sources)]
    micro_batch = np.array([data.cases[row].plan.micro_batch for row in data.rows])
    found = {
        "another model": [(models == model) for model in sorted(set(models[~usual]))],
        "more devices": [devices > np.median(np.unique(devices))],
        "another source": [sources == source for source in minor],
    }
    if usual.any() and not usual.all():
        found["wider tensor groups"] = [usual & (tensor == tensor[usual].max())]
        found["larger microbatches"] = [usual & (micro_batch >= 2 * np.median(micro_batch))]
    return {
        name: [mask for mask in masks if mask.any() and data.weights[~mask].sum() >= 3] for name, masks in found.items()
    }


def unseen(data: Bench, free: Sequence[Free]) -> list[Held]:
    """Every split's rows by fits that have not seen them."""
    out = []
    for name, masks in splits(data).items():
        for held in masks:
            off = np.log(data.measured / data.seconds(fit(data, free, ~held)))
            plain = by_regression(data, ~held)
            rows = np.flatnonzero(held).tolist()
            out += [Held(name, row, off[row], plain[row], data.weights[row]) for row in rows]
        found = [one for one in out if one.split == name]
        if found:
            print(f"  unseen {name:33s} {summary(*logs_of(found))}", flush=True)
    return out


def of_limit(family: str) -> tuple[float, float]:
    """The interval of the data-sheet tier: 5th and 95th percentile of measured over its time."""
    data = bench(family, "limit")
    logs = np.log(data.measured / data.seconds(data.base))
    order = np.argsort(logs)
    place = np.cumsum(data.weights[order]) - data.weights[order] / 2
    low, high = np.interp([0.05, 0.95], place / data.weights.sum(), logs[order])
    return float(np.exp(low)), float(np.exp(high))


def fit_memory(data: Bench) -> tuple[float, np.ndarray]:
    """What the allocator keeps relative to what activations fill, and log(measured / predicted) of rows left out one by
    one."""
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
    return float(each.mean()), logs


def by_regression(data: Bench, chosen: np.ndarray) -> np.ndarray:
    """log(measured / predicted) of every row by a regression without physics on the chosen ones: the logarithm of time
    is linear in those of flop per device, degrees, microbatches and bytes per weight, with a little ridge."""
    plans = [data.cases[row].plan for row in data.rows]
    graphs = [rows_of.graph_of(data.cases[r].shape, data.cases[r].framework) for r in data.rows]
    flop = [sum(s.repeat * sum(op.flop for op in s.block.ops) for s in graph.segments) for graph in graphs]
    shapes = [(p.tensor, p.pipeline, p.data, p.context, p.expert, p.micro_batch, p.num_microbatches) for p in plans]
    work = np.log(flop) + np.log(
        [p.micro_batch * p.num_microbatches / p.tensor / p.pipeline / p.context for p in plans]
    )
    kinds = [[p.precision == "fp8", p.recompute == "full"] for p in plans]
    features = np.column_stack([np.ones(len(plans)), work, np.log(shapes), np.array(kinds, float)])
    weights = data.weights[chosen, None]
    known = features[chosen]
    square = known.T @ (known * weights) + 1e-3 * np.eye(features.shape[1])
    logs = np.log(data.measured)
    found = np.linalg.solve(square, known.T @ (logs[chosen, None] * weights))[:, 0]
    return np.asarray(logs - features @ found)


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
    used = fit(data, free, np.ones(len(data.rows), bool))
    seen = np.log(data.measured / data.seconds(used))
    print(f"  seen                          {summary(seen, data.weights)}")
    held = unseen(data, free)
    logs, weights = logs_of(held)
    memory_logs = np.zeros(0)
    if len(logs) < 5:
        logs, weights = seen, data.weights
    values: dict[str, float] = dict(zip(("error_low", "error_high"), interval(logs, weights), strict=True))
    values |= dict(zip(("limit_error_low", "limit_error_high"), of_limit(family), strict=True))
    if any(data.column("memory_GiB")):
        values["activation_factor"], memory_logs = fit_memory(replace(data, base=used))
        ends = interval(memory_logs, np.ones(len(memory_logs)))
        values |= dict(zip(("memory_error_low", "memory_error_high"), ends, strict=True))
    record(family, data.column("source"), held, memory_logs)
    for name in sorted(data.base):
        own = {one.key: float(getattr(used[name], one.key)) for one in free if name in one.frameworks}
        own |= {"device_spread": float(used[name].device_spread)} if family in SPREADS else {}
        write(name, {**own, **values})
        print(f"  {name}: " + ", ".join(f"{key} {value:.3g}" for key, value in own.items()))
    print("  " + ", ".join(f"{key} {value:.3g}" for key, value in values.items()))


if __name__ == "__main__":
    for chosen in sys.argv[1:] or FAMILIES:
        fit_family(chosen)
