"""Accuracy of collectives: every figure on rows that the fit behind it has not seen."""

import os
import sys
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from aisys.collective import OPS
from aisys.collective import calibrated as links
from aisys.collective.library import nccl
from aisys.machine import residual
from aisys.validate import Options, predict, read_table
from aisys.validate.table import Table

ROOT = Path(__file__).parents[2]
TABLES = Path(os.environ.get("AISYS_TABLES", ""))
COMMAND = "python benchmarks/make_accuracy.py"
EXTRAPOLATED_FROM_BYTES = 2**25
Line = tuple[str, str, str, int | str, str]


def section() -> str:
    """The section of docs/accuracy.md."""
    fits, kernels = script("fit_collective"), script("fit_collective_kernels")
    lines = [*switches(fits), *others(fits), *frameworks(kernels), *tables()]
    head = "## Collectives\n\n"
    head += "NCCL rows are nccl-tests on one node of each kind, and large all-reduces that TensorRT-LLM hands to NCCL. "
    head += "`unseen sizes`: five fits, each without every fifth size. Intervals are those that the other four fits "
    head += "would have shipped. Calibrated: what the other sizes of the same op missed; it does not ship, a table of "
    head += "your own (`--calibrate-with`) gives it.\n\n"
    head += "| figure | reached | must; aim | rows | command |\n|---|---|---|---|---|\n"
    return head + "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def script(name: str) -> ModuleType:
    """A module of scripts/."""
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def switches(fits: Any) -> list[Line]:
    """NCCL on NVSwitch: unseen sizes, larger sizes, unseen generations, and two models beside ours."""
    found = {n: s for n, s in fits.samples(TABLES).items() if n in fits.SWITCHES}
    ratio = {n: fits.folds(s, fits.first_space(n)) for n, s in found.items()}
    every = np.concatenate(list(ratio.values()))
    op = np.concatenate([s.rows.op for s in found.values()])
    command = "`python scripts/fit_collective.py`"
    lines: list[Line] = [
        ("NCCL on NVSwitch, four ops, 2-8 GPUs, unseen sizes, MAPE", percent(fits.mape(every)), "12 %; 8 %",
         len(every), command)
    ]  # fmt: skip
    for name, one in ratio.items():
        lines.append((f"... {name}", percent(fits.mape(one)), "12 %; 8 %", len(one), command))
    for code in range(4):
        part = every[op == code]
        lines.append((f"... {OPS[code]}", percent(fits.mape(part)), "12 %; 8 %", len(part), command))
    better = np.concatenate([calibrated(fits, one, ratio[name]) for name, one in found.items()])
    lines.append(("... calibrated", percent(fits.mape(better)), "-", len(better), COMMAND))
    inside, width = coverage(fits, found, ratio)
    lines.append(("... 90 % intervals cover; width", f"{percent(inside)}; {width:.2f}", "85-95 %", len(every), COMMAND))
    lines.append(("... the same width for the data-sheet tier", sheet_width(), "twice ours", len(every), COMMAND))
    lines += extrapolated(fits, found)
    for name, one in found.items():
        rest = [s for n, s in found.items() if n != name]
        far = one.seconds / fits.predict(fits.fit(rest, fits.first_space(name)), one)
        lines.append((f"{name} from the two other generations, MAPE", percent(fits.mape(far)), "-", len(far), command))
    return lines


def calibrated(fits: Any, one: Any, ratio: np.ndarray) -> np.ndarray:
    """measured / predicted where what the other sizes of the same op missed corrects the prediction."""
    out = ratio.copy()
    sizes = np.unique(one.rows.num_bytes)
    for k in range(fits.NUM_FOLDS):
        is_unseen = np.isin(one.rows.num_bytes, sizes[k :: fits.NUM_FOLDS])
        for op in np.unique(one.rows.op):
            seen, asked = ((one.rows.op == op) & which for which in (~is_unseen, is_unseen))
            points = links.features(one.rows)
            learned = residual.fit(points[seen], np.log(ratio[seen]), links.LENGTHS)
            out[asked] /= np.exp(learned.log_correction(points[asked]))
    return out


def coverage(fits: Any, found: dict[str, Any], ratio: dict[str, np.ndarray]) -> tuple[float, float]:
    """Share of unseen rows inside intervals made from the other folds, and the mean width of these."""
    hits, widths = [], []
    for k in range(fits.NUM_FOLDS):
        seen, unseen = [], []
        for name, one in found.items():
            sizes = np.unique(one.rows.num_bytes)
            is_unseen = np.isin(one.rows.num_bytes, sizes[k :: fits.NUM_FOLDS])
            seen.append((ratio[name][~is_unseen], one.chosen[~is_unseen]))
            unseen.append((ratio[name][is_unseen], one.chosen[is_unseen]))
        error = fits.error_of([r for r, _ in seen], [c for _, c in seen], fits.OTHER_NODES)
        for part, chosen in unseen:
            low, high = error[nccl.PROTOCOL_OF[chosen]].T
            hits.append((low <= part) & (part <= high))
            widths.append(high - low)
    return float(np.concatenate(hits).mean()), float(np.concatenate(widths).mean())


def extrapolated(fits: Any, found: dict[str, Any]) -> list[Line]:
    """Sizes of 32 MiB and more, by fits that have seen smaller ones only: ours, and a latency and a rate per series."""
    ours, plain = [], []
    for name, one in found.items():
        is_large = one.rows.num_bytes >= EXTRAPOLATED_FROM_BYTES
        vector = fits.fit([one.take(~is_large)], fits.first_space(name))
        ours.append((one.seconds / fits.predict(vector, one))[is_large])
        plain.append(one.seconds[is_large] / alpha_beta(one, is_large)[is_large])
    near = np.concatenate([regressed(fits, one) for one in found.values()])
    ours_all, plain_all = np.concatenate(ours), np.concatenate(plain)
    return [
        ("NCCL on NVSwitch, 32 MiB and more from smaller sizes, MAPE", percent(fits.mape(ours_all)), "-",
         len(ours_all), COMMAND),
        ("... by a latency and a rate fitted per device, op and number of GPUs", percent(fits.mape(plain_all)), "-",
         len(plain_all), COMMAND),
        ("unseen sizes by a latency and a rate fitted per device, op and number of GPUs", percent(fits.mape(near)), "-",
         len(near), COMMAND),
    ]  # fmt: skip


def alpha_beta(one: Any, is_unseen: np.ndarray) -> np.ndarray:
    """Latency and rate of each op and number of ranks, from the seen rows, relative errors weighing alike."""
    out = np.full(len(one.seconds), np.nan)
    for op in np.unique(one.rows.op):
        for ranks in np.unique(one.rows.num_ranks):
            series = (one.rows.op == op) & (one.rows.num_ranks == ranks)
            seen = series & ~is_unseen
            columns = np.column_stack([np.ones(seen.sum()), one.rows.num_bytes[seen]]) / one.seconds[seen][:, None]
            latency, rate = np.linalg.lstsq(columns, np.ones(seen.sum()), rcond=None)[0]
            out[series] = np.maximum(latency + rate * one.rows.num_bytes[series], 1e-7)
    return out


def regressed(fits: Any, one: Any) -> np.ndarray:
    """measured / regression for rows whose size it has not seen."""
    sizes = np.unique(one.rows.num_bytes)
    out = np.zeros(len(one.seconds))
    for k in range(fits.NUM_FOLDS):
        unseen = np.isin(one.rows.num_bytes, sizes[k :: fits.NUM_FOLDS])
        out[unseen] = (one.seconds / alpha_beta(one, unseen))[unseen]
    return out


def sheet_width() -> str:
    """Width of the data-sheet tier's interval on the NVSwitch rows of NCCL."""
    table = switch_rows(read_table(TABLES / "measured/gpu_collectives.csv"))
    found = predict(table, tier="limit")
    return f"{float(((found.high - found.low) / found.predicted).mean()):.0f}"


def switch_rows(table: Table) -> Table:
    """NCCL's rows on NVSwitch."""
    is_nccl = np.char.startswith(table.texts("lib"), "nccl")
    return table.take(is_nccl & (np.char.find(table.texts("device"), "NVSwitch") >= 0))


def others(fits: Any) -> list[Line]:
    """NCCL on PCIe, bridges and cubes: unseen sizes."""
    found = fits.samples(TABLES)
    fitted = {n: fits.fit([found[n]], fits.first_space(n)) for n in fits.SWITCHES}
    lines: list[Line] = []
    for name in fits.OTHERS:
        where = fits.space(name, fitted)
        ratio = fits.folds(found[name], where)
        fitted[name] = fits.fit([found[name]], where)
        figure = f"NCCL on {name}, unseen sizes, MAPE"
        lines.append((figure, percent(fits.mape(ratio)), "-", len(ratio), "`python scripts/fit_collective.py`"))
    return lines


def frameworks(kernels: Any) -> list[Line]:
    """All-reduce of serving frameworks: unseen sizes."""
    table = read_table(TABLES / "measured" / kernels.TABLE)
    lines: list[Line] = []
    for library, part in (("vllm", "vllm_graph"), ("tensorrt_llm", "trtllm")):
        for is_switch in (True, False):
            links = [n for n in kernels.DEVICES if n.startswith("nvswitch") == is_switch]
            ratio = np.concatenate([kernels.ratio_of(kernels.sample(table, n, library, part)) for n in links])
            figure = f"{library} all-reduce on {'NVSwitch' if is_switch else 'PCIe'}, unseen sizes, MAPE"
            error = float(np.abs(1 / ratio - 1).mean())
            lines.append((figure, percent(error), "-", len(ratio), "`python scripts/fit_collective_kernels.py`"))
    return lines


def tables() -> list[Line]:
    """Whole tables that no fit has read, and those between nodes, of which fits have read some rows."""
    lines: list[Line] = []
    log = result("nccl_allreduce", "gpu", "H100")
    command = "`aisys validate nccl_allreduce.csv`"
    lines.append(("NCCL on another H100 node, no row read, MAPE; coverage", *log, command))
    lut = result("nccl_allreduce_one_node", "gpu", "a100")
    lines.append(("NCCL 2-8 ranks on another A100 node, no row read, MAPE; coverage", *lut,
                  "`aisys validate nccl_allreduce_one_node.csv`"))  # fmt: skip
    for system in ("a100_dgx", "h100_dgx", "a100_pairwise_nvlink", "h100_pairwise_nvlink", "a40_pairwise_nvlink"):
        one = result("vidur_network", "system", system)
        figure = f"PyTorch calls on {system}, in and between nodes, rows between nodes read by the fit, MAPE; coverage"
        lines.append((figure, *one, "`aisys validate vidur_network.csv`"))
    simulated = predict(read_table(TABLES / "oracle/astrasim_allreduce.csv"))
    error = np.abs(simulated.predicted / simulated.measured - 1)
    known = error[np.isfinite(error)]
    reached = f"{100 * known.mean():.3f} %; {100 * known.max():.3f} %"
    command = "`aisys validate astrasim_allreduce.csv`"
    lines.append(("all-reduce as ASTRA-sim *simulates* it, mean; worst", reached, "0.18 %", len(known), command))
    return lines


def result(name: str, column: str, value: str) -> tuple[str, str, int]:
    """MAPE and coverage, target, and rows, of the rows with `value` in `column`."""
    table = read_table(TABLES / f"measured/{name}.csv")
    table = table.take(table.texts(column) == value)
    found = predict(table, options=replace(Options(), constants="fitted"))
    ratio = found.measured / found.predicted
    covered = ((found.low <= found.measured) & (found.measured <= found.high)).mean()
    return f"{percent(float(np.abs(1 / ratio - 1).mean()))}; {percent(float(covered))}", "-", len(table)
