"""Fits how TPUs overlap their folds, on three measured tables, and writes the constants into the catalogue.

    AISYS_TABLES=FOLDER python scripts/fit_tpu.py

First the products of TPU v6e: single ones from main memory (tpu_v6e_ops, op gemm) and repeated ones of awkward shapes
(tpu_v6e_gemm), with one set of constants. Then whole forward passes (tpu_llm) of v6e and of v4 say what happens between
ops; v4 takes the rest from v6e. Then fused attention of v6e. TPU v5e was not measured: it takes the constants of v6e.
Errors and intervals are of folds that the fit has not seen: products by the shape of the weight, attention by row,
forward passes by sequences and batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from fitting import Free, checked_interval, fit, interval, regression, summary, tables_folder, unseen, write

from aisys.cost.systolic_array import overlapped
from aisys.frozen import FrozenMap
from aisys.ir import OpTable, kernels, tables
from aisys.machine import Device, SystolicArray, load
from aisys.units import MICRO, Kind, Sourced
from aisys.validate import tpu_gemm, tpu_llm, tpu_op
from aisys.validate.table import Table, read_table
from aisys.workload import read

FIXED = {"prefetch_share": 0.85}
"""Inputs of 107 MB are fetched before their product, those of 121 MB stream: rows 1024x3072x16384, 128x14336x4096."""

PRODUCT = (
    Free("alone_s", 1.9e-6, 5e-7, 5e-6), Free("loop_s", 1e-6, 3e-7, 3e-6), Free("step_s", 1e-7, 1e-8, 1e-6),
    Free("compute_efficiency", 0.9, 0.6, 1.0), Free("memory_efficiency", 0.9, 0.6, 1.0),
    Free("weight_load_share", 0.25, 0.02, 1.0), Free("fold_share", 0.2, 0.01, 1.0),
    Free("fetch_share", 0.85, 0.02, 1.0), Free("write_share", 0.5, 0.02, 1.0), Free("overlap_power", 4, 1.2, 20),
)  # fmt: skip
PROGRAM = (
    Free("launch_s", 5e-7, 1e-8, 4e-6), Free("resident_share", 0.2, 0.005, 1.0), Free("softmax_s", 2e-12, 1e-13, 2e-11),
    Free("stream_share", 0.4, 0.02, 1.0), Free("repack_passes", 3, 0.1, 20),
)  # fmt: skip
ATTENTION = (Free("attention_s", 2e-6, 1e-7, 1e-5), Free("score_s", 2e-12, 1e-13, 2e-11))
PLACEHOLDERS = {free.key: free.prior for free in (*PRODUCT, *PROGRAM, *ATTENTION)}


@dataclass(frozen=True)
class Placed:
    """Ops of one kind: whose rows they are, how often each runs, and where their bytes lie."""

    ops: OpTable
    rows: np.ndarray
    repeat: np.ndarray
    moved: overlapped.Moved


def device_with(name: str, values: Mapping[str, float]) -> Device:
    """The device `name` with the constants of `values` and no others."""
    device = load.device(name)
    array = device.architecture
    assert isinstance(array, SystolicArray)
    chosen = {**PLACEHOLDERS, **FIXED, **values}
    sourced = {f"overlapped.{k}": Sourced(v, source="being fitted", kind="fitted", key=k) for k, v in chosen.items()}
    return replace(device, architecture=replace(array, constants=FrozenMap(sourced)))


def predictor(
    placed: Sequence[Placed], num_rows: int, name: str, known: Mapping[str, float]
) -> Callable[[Mapping[str, float], np.ndarray], np.ndarray]:
    """Times of the rows of a table under constants, those of `known` included."""

    def predict(values: Mapping[str, float], rows: np.ndarray) -> np.ndarray:
        device, total = device_with(name, {**known, **values}), np.zeros(num_rows)
        for part in placed:
            np.add.at(total, part.rows, part.repeat * overlapped.time(part.ops, part.moved, device).time_s)
        return np.asarray(total[rows])

    return predict


def single(ops: Sequence[OpTable], placing: Callable[[OpTable], overlapped.Moved], first: int = 0) -> list[Placed]:
    """One op per row, all of one kind."""
    joined = OpTable.join(list(ops))
    return [Placed(joined, first + np.arange(len(ops)), np.ones(len(ops)), placing(joined))]


def programs(table: Table) -> list[Placed]:
    """Every kernel of every row of a tpu_llm table."""
    found: dict[str, list[tuple[OpTable, np.ndarray, np.ndarray]]] = {}
    columns = (table.texts("model"), table.counts("batch"), table.counts("seq"))
    for row, (model, batch, tokens) in enumerate(zip(*columns, strict=True)):
        for segment in tpu_llm.compiled(str(model), int(batch), int(tokens)).segments:
            block = segment.block
            for kind, (ops, index) in tables([k.row for k in kernels(block.ops, block.tensors)]).items():
                times = segment.repeat * np.bincount(index, minlength=len(ops))
                found.setdefault(kind, []).append((ops, np.full(len(ops), row), times))
    joined = []
    for parts in found.values():
        ops, rows, repeat = zip(*parts, strict=True)
        table_ = OpTable.join(list(ops))
        joined.append(Placed(table_, np.concatenate(rows), np.concatenate(repeat), overlapped.in_program(table_)))
    return joined


@dataclass(frozen=True)
class Unseen:
    """Times of rows, predicted by fits and by a regression without physics that have not seen them."""

    name: str
    measured: np.ndarray
    predicted: np.ndarray
    blind: np.ndarray

    @property
    def text(self) -> str:
        """Errors of both, and coverage and width of the interval."""
        covered, width = checked_interval(self.measured, self.predicted)
        return (
            f"{self.name}: {summary(self.measured, self.predicted)}; interval covers {100 * covered:.0f} %, width "
            f"{width:.2f}\n  regression: {summary(self.measured, self.blind)}"
        )


def with_regression(
    name: str, measured: np.ndarray, predicted: np.ndarray, features: np.ndarray, groups: np.ndarray
) -> Unseen:
    """Unseen predictions beside those of a quadratic in the logarithms of `features`, on folds by `groups`."""
    _, index = np.unique(groups, return_inverse=True)
    fold = (np.random.default_rng(1).permutation(index.max() + 1) % 4)[index]
    blind = np.zeros(len(measured))
    for number in range(4):
        asked = np.flatnonzero(fold == number)
        blind[asked] = regression(features, measured, np.flatnonzero(fold != number), asked)
    return Unseen(name, measured, predicted, blind)


@dataclass(frozen=True)
class Fitted:
    """Constants, the ends of their intervals, and what they rest on."""

    values: dict[str, float]
    errors: dict[str, float]
    unseen: tuple[Unseen, ...]


def fit_products(folder: Table, awkward: Table) -> Fitted:
    """Constants of products on v6e, and their interval."""
    chosen = folder.take(folder.texts("op") == "gemm")
    ops = [tpu_op.ops_of("gemm", extents)[0] for extents in tpu_op.extents_of(chosen)]
    looped = tpu_gemm.op_table(awkward)
    num, total = len(ops), len(ops) + len(looped)
    placed = [
        *single(ops, overlapped.alone),
        Placed(looped, num + np.arange(len(looped)), np.ones(len(looped)), overlapped.in_loop(looped)),
    ]
    times = (chosen.numbers("latency_ns") * 1e-9, awkward.numbers("latency_us_device") * MICRO)
    measured = np.concatenate(times)
    shapes = np.column_stack([np.concatenate([OpTable.join(ops)[a], looped[a]]) for a in "mnk"]).astype(float)
    groups = np.array([f"{min(n, k):.0f}x{max(n, k):.0f}" for _, n, k in shapes])
    predict = predictor(placed, total, tpu_op.DEVICE, {})
    out = unseen(predict, measured, PRODUCT, groups)
    parts = (("single products of v6e", slice(0, num)), ("awkward products of v6e", slice(num, total)))
    found = tuple(with_regression(n, measured[p], out[p], shapes[p], groups[p]) for n, p in parts)
    errors = {**ends("matmul", measured[:num], out[:num]), **ends("loop", measured[num:], out[num:])}
    return Fitted({**fit(predict, measured, PRODUCT, np.arange(total)), **FIXED}, errors, found)


def fit_programs(table: Table, name: str, known: Mapping[str, float]) -> Fitted:
    """Constants between the ops of a program, and the interval of whole programs."""
    mine = table.take([load.device(str(chip)).name == name for chip in table.texts("chip")])
    measured = mine.numbers("device_ms") * 1e-3
    predict = predictor(programs(mine), len(mine), name, known)
    models, index = np.unique(mine.texts("model"), return_inverse=True)
    sizes = np.array([read(str(model)).num_parameters for model in models]).astype(float)[index]
    features = np.column_stack([mine.counts("seq"), mine.counts("batch"), sizes]).astype(float)
    groups = np.array([f"{seq}x{batch}" for seq, batch, _ in features.astype(int)])
    out = unseen(predict, measured, PROGRAM, groups)
    found = with_regression(f"forward passes of {name.removeprefix('tpu-')}", measured, out, features, groups)
    return Fitted(fit(predict, measured, PROGRAM, np.arange(len(mine))), ends("program", measured, out), (found,))


def fit_attention(table: Table, known: Mapping[str, float]) -> Fitted:
    """Constants of fused attention on v6e, and its interval."""
    mine = table.take([str(op).startswith("attn_") for op in table.texts("op")])
    extents = tpu_op.extents_of(mine)
    ops = [tpu_op.ops_of(str(op), e)[0] for op, e in zip(mine.texts("op"), extents, strict=True)]
    measured = mine.numbers("latency_ns") * 1e-9
    predict = predictor(single(ops, overlapped.alone), len(ops), tpu_op.DEVICE, known)
    out = unseen(predict, measured, ATTENTION)
    sizes = np.column_stack([OpTable.join(ops)[name] for name in ("q_heads", "q_len", "kv_len")]).astype(float)
    found = with_regression("fused attention of v6e", measured, out, sizes, np.arange(len(ops)))
    return Fitted(fit(predict, measured, ATTENTION, np.arange(len(ops))), ends("attention", measured, out), (found,))


def ends(name: str, measured: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """The 90 % interval of unseen predictions, as two constants."""
    low, high = interval(measured, predicted)
    return {f"{name}_error_low": low, f"{name}_error_high": high}


def named(values: Mapping[str, float]) -> dict[str, float]:
    """The keys of constants as the catalogue has them."""
    return {f"overlapped.{key}": value for key, value in values.items()}


def all_fits() -> dict[str, Fitted]:
    """What the tables say: products and attention of v6e, and programs by chip."""
    folder = tables_folder()
    ops, awkward, llm = (read_table(folder / f"{n}.csv") for n in ("tpu_v6e_ops", "tpu_v6e_gemm", "tpu_llm"))
    products = fit_products(ops, awkward)
    chips = {name: fit_programs(llm, name, products.values) for name in ("tpu-v6e", "tpu-v4")}
    attention = fit_attention(ops, {**products.values, **chips["tpu-v6e"].values})
    return {"products": products, **chips, "attention": attention}


def main() -> None:
    """Fits, prints and writes."""
    fits = all_fits()
    for found in fits.values():
        print("\n".join(one.text for one in found.unseen))
    source, on_llm = "scripts/fit_tpu.py on tpu_v6e_ops.csv and tpu_v6e_gemm.csv", "scripts/fit_tpu.py on tpu_llm.csv"
    other = f"assumed: as TPU v6e; {source}; intervals twice as wide"
    single_ops = {**fits["products"].values, **fits["attention"].values}
    errors = {**fits["products"].errors, **fits["attention"].errors}
    v6e, v4 = fits["tpu-v6e"], fits["tpu-v4"]
    facts: dict[str, list[tuple[str, Kind, dict[str, float]]]] = {
        "tpu-v6e": [
            (source, "fitted", {**single_ops, **errors}),
            (f"{on_llm} (TPU v6e)", "fitted", {**v6e.values, **v6e.errors}),
        ],
        "tpu-v4": [
            (other, "assumed", {**single_ops, **wide(errors)}),
            (f"{on_llm} (TPU v4)", "fitted", {**v4.values, **v4.errors}),
        ],
        "tpu-v5e": [(other, "assumed", {**single_ops, **v6e.values, **wide({**errors, **v6e.errors})})],
    }
    for name, groups in facts.items():
        write(f"{name}.overlapped", [(said, kind, named(values)) for said, kind, values in groups])


def wide(errors: Mapping[str, float]) -> dict[str, float]:
    """Intervals for a chip that was not measured: twice as wide. Source: assumed, as between generations of GPUs."""
    return {key: value**2 for key, value in errors.items()}


if __name__ == "__main__":
    main()
