"""Predicts tables of kind training_step: seconds of one iteration over the global batch, and peak device memory.

Columns: source, model or its dimensions, machine, devices, dp tp pp cp ep, interleave, sharding, micro_batch,
global_batch, precision, recompute, sequence_parallel; measured_s or tokens_per_s_per_device, and memory_GiB where it
was measured. A row that cannot be read, or whose plan cannot be, is skipped with its reason.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from aisys.cost import Tier
from aisys.errors import AisysError, BadInput
from aisys.frozen import FrozenMap
from aisys.ir import Graph
from aisys.lower.framework import Framework, framework, usual_framework
from aisys.lower.shares import Setting, Shop
from aisys.lower.step import Steps, evaluate_steps
from aisys.machine import Machine, load
from aisys.plan import Plan, PlanTable
from aisys.technique.eager_attention import EagerAttention
from aisys.technique.training_step import TrainingStep
from aisys.units import GiB
from aisys.validate.prediction import Compared, Floats, Options, Prediction
from aisys.validate.table import Table
from aisys.workload import GptShape, published, read
from aisys.workload.published import is_published

SHAPE = ("model", "layers", "hidden", "heads", "kv_heads", "ffn", "vocab", "seq")
RANKING = ("source", *SHAPE, "machine", "devices", "global_batch", "precision")
GROUPS = ("source", "model", "machine", "precision", "recompute", "devices", "tp", "pp")
USUAL_SEQ = {"torchtitan": 8192, "": 2048}
"""Tokens of a sequence where a row leaves it empty, by framework. Source: torchtitan train_configs, Llama 3; GPT-3."""

GRADIENTS = {"megatron-deepspeed": "fp16", "megatron-core": "bf16"}
"""Format that gradients add up in, where it is not fp32. Source: DeepSpeed's fp16 engine; grad_sync_dtype of NeMo."""

TITAN_2024 = ("h100-96gb",)
"""Devices of torchtitan's runs of 2024, before the loss was compiled with the blocks. Source: the names of its
benchmark files."""

UNFUSED_ATTENTION = ("megatron", "megatron-deepspeed")
"""Frameworks whose rows ran attention as separate kernels with dropout. Source: Megatron-LM before mid 2022."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row: what was trained (the cells of SHAPE, then the framework), where, and how."""

    shape: tuple[str, ...]
    framework: str
    machine: Machine
    plan: Plan


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """Seconds of every row, with peak memory in GiB beside it."""
    measured = measured_s(table)
    predicted, low, high, memory = (np.full(len(table), np.nan) for _ in range(4))
    memory_interval = np.full((2, len(table)), np.nan)
    cases, reasons = read_cases(table, options)
    reasons |= {row: "the row states neither measured_s nor tokens_per_s_per_device" for row in np.flatnonzero(
        ~np.isfinite(measured)).tolist() if row not in reasons}  # fmt: skip
    for chosen, rows in grouped(cases).items():
        try:
            steps = evaluate_steps(_shop(chosen, tier), PlanTable.of([cases[row].plan for row in rows]))
        except AisysError as error:
            reasons |= dict.fromkeys(rows, str(error))
            continue
        reasons |= {row: reason for row, reason in zip(rows, steps.reason, strict=True) if reason}
        predicted[rows], low[rows], high[rows] = steps.time_s, steps.low_s, steps.high_s
        memory[rows] = steps.peak_memory_bytes / GiB
        memory_interval[:, rows] = _memory_interval(steps, framework(chosen.framework))
    skipped = np.array(sorted(reasons), np.int64)
    for values in (predicted, low, high, memory):
        values[skipped] = np.nan
    return Prediction(
        predicted=predicted, measured=measured, low=low, high=high, skipped=tuple(sorted(reasons.items())),
        group_columns=tuple(name for name in GROUPS if table.has(name)),
        ranking_columns=tuple(name for name in RANKING if table.has(name)),
        others=_memory(table, memory, memory_interval),
    )  # fmt: skip


def read_cases(table: Table, options: Options) -> tuple[dict[int, Case], dict[int, str]]:
    """Every row as a Case, and the reason of each row that is none."""
    columns = {name: table.texts(name).tolist() for name in table.columns}
    cases: dict[int, Case] = {}
    reasons: dict[int, str] = {}
    for row in range(len(table)):
        try:
            cases[row] = _case({name: cells[row] for name, cells in columns.items()}, options)
        except AisysError as error:
            reasons[row] = str(error)
    return cases, reasons


def grouped(cases: dict[int, Case]) -> dict[Case, list[int]]:
    """Rows that differ in nothing but their plan, by the first of them."""
    found: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for row, case in cases.items():
        found[case.shape, case.framework, case.machine].append(row)
    return {cases[rows[0]]: rows for rows in found.values()}


@lru_cache(maxsize=256)
def graph_of(shape: tuple[str, ...], framework_name: str) -> Graph:
    """The training graph of the cells of SHAPE, as the framework computes it."""
    cells = dict(zip(SHAPE, shape, strict=True))
    tokens = _count(cells, "seq", USUAL_SEQ.get(framework_name.split("-")[0], USUAL_SEQ[""]))
    layers = _count(cells, "layers", 0)
    config = _published(cells)
    if config:
        graph = read(_trained(config, framework_name), tokens=tokens, num_layers=layers or None)
    else:
        graph = read(_trained(dict(_shape(cells, tokens).config()), framework_name), tokens=tokens)
    if framework_name in UNFUSED_ATTENTION:
        graph = EagerAttention().apply(graph)
    return _training(framework_name).apply(graph)


def _published(cells: dict[str, str]) -> dict[str, object]:
    """The configuration of the row's model; empty where it is not published, or the row states another width."""
    if not is_published(cells["model"]):
        return {}
    config = dict(published(cells["model"]).config)
    hidden = config.get("hidden_size", config.get("n_embd"))
    return config if _count(cells, "hidden", hidden) == hidden else {}


def _training(framework_name: str) -> TrainingStep:
    """What is kept per weight."""
    return TrainingStep(gradient_dtype=GRADIENTS.get(framework_name, "fp32"))


def _trained(config: dict[str, object], framework_name: str) -> dict[str, object]:
    """The configuration as it is trained: runs of today leave dropout out. Source: NeMo and MLPerf configurations."""
    if config.get("model_type") != "gpt2" or framework_name in UNFUSED_ATTENTION:
        return config
    return {**config, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


def _shape(cells: dict[str, str], tokens: int) -> GptShape:
    hidden, heads = _count(cells, "hidden"), _count(cells, "heads")
    return GptShape(
        layers=_count(cells, "layers"), hidden=hidden, heads=heads, kv_heads=_count(cells, "kv_heads", heads),
        ffn=_count(cells, "ffn", 4 * hidden), vocab=_count(cells, "vocab", 51200), seq=tokens,
    )  # fmt: skip


def _case(cells: dict[str, str], options: Options) -> Case:
    devices, machine_name = _count(cells, "devices"), cells.get("machine", "")
    machine = _machine(machine_name, devices, options.constants)
    name = framework_of(cells.get("source", ""), machine)
    shape = tuple(cells.get(column, "") for column in SHAPE)
    graph_of(shape, name)
    return Case(shape, name, machine, _plan(cells, devices, name))


def framework_of(source: str, machine: Machine) -> str:
    """The framework that a row's source ran: by its name, else the usual one of the machine."""
    text = source.lower()
    if text.startswith("torchtitan"):
        if "compile" not in text:
            return "torchtitan-eager"
        return "torchtitan-2024" if machine.device.name in TITAN_2024 else "torchtitan"
    if text.startswith("vtrain"):
        return "megatron-deepspeed"
    if any(word in text for word in ("dgxc", "mlperf", "nemo", "megatron-core", "megatron_core")):
        return "megatron-core"
    return usual_framework(machine, "train")


def _plan(cells: dict[str, str], devices: int, framework_name: str) -> Plan:
    tensor, pipeline, context = (_count(cells, name, 1) for name in ("tp", "pp", "cp"))
    data = _count(cells, "dp", max(1, devices // (tensor * pipeline * context)))
    if data * tensor * pipeline * context != devices:
        raise BadInput(f"dp {data} x tp {tensor} x pp {pipeline} x cp {context} is not devices = {devices}")
    share, rest = divmod(_count(cells, "global_batch"), data)
    is_titan = framework_name.startswith("torchtitan")
    usual = max(1, share // pipeline) if is_titan else 1
    micro_batch = _count(cells, "micro_batch", usual)
    if rest or share % micro_batch:
        whole = cells["global_batch"]
        raise BadInput(f"global_batch {whole} does not split into dp {data} x micro_batch {micro_batch}")
    recompute = cells.get("recompute") or ("selective" if is_titan else "none")
    return Plan(
        tensor=tensor, pipeline=pipeline, data=data, context=context, expert=_count(cells, "ep", 1),
        interleave=_count(cells, "interleave", 1) if pipeline > 1 else 1,
        sharding="zero3" if is_titan and context > 1 else cells.get("sharding") or "none",
        micro_batch=micro_batch, num_microbatches=share // micro_batch, precision=cells.get("precision") or "bf16",
        recompute="op" if is_titan and recompute == "selective" else recompute,
        sequence_parallel=tensor > 1 and cells.get("sequence_parallel", "").lower() in ("1", "true", "yes"),
    )  # fmt: skip


@lru_cache(maxsize=256)
def _machine(name: str, devices: int, constants: str) -> Machine:
    """Whole nodes of the machine called `name`, enough for `devices`; part of one node where one is too many."""
    node = load.machine(name, constants="transfer" if constants == "transfer" else "fitted")
    num_nodes = -(-devices // node.num_devices)
    if num_nodes == 1:
        return node
    return load.machine(f"{name}*{num_nodes}", constants="transfer" if constants == "transfer" else "fitted")


@lru_cache(maxsize=128)
def _shop_of(shape: tuple[str, ...], framework_name: str, machine: Machine, tier: Tier) -> Shop:
    graph, of = graph_of(shape, framework_name), framework(framework_name)
    return Shop(Setting(graph=graph, machine=machine, framework=of, tier=tier))


def _shop(case: Case, tier: Tier) -> Shop:
    return _shop_of(case.shape, case.framework, case.machine, tier)


def _count(cells: dict[str, str], name: str, empty: int | None = None) -> int:
    cell = cells.get(name, "")
    if not cell and empty is not None:
        return empty
    try:
        value = float(cell)
    except ValueError:
        value = 0.0
    if not 1 <= value <= 2**53 or value != int(value):
        raise BadInput(f"column {name!r} is {cell[:40]!r}; give a whole number of at least 1")
    return int(value)


def measured_s(table: Table) -> Floats:
    """Seconds per iteration, from tokens per second where those are stated; NaN where neither is."""
    seconds = _numbers(table, "measured_s")
    rate = _numbers(table, "tokens_per_s_per_device")
    tokens = np.where(np.isfinite(_numbers(table, "seq")), _numbers(table, "seq"), USUAL_SEQ["torchtitan"])
    from_rate = _numbers(table, "global_batch") * tokens / (rate * _numbers(table, "devices"))
    return np.where(np.isfinite(seconds), seconds, from_rate)


def _numbers(table: Table, name: str) -> Floats:
    """A column as positive numbers; NaN where a cell is empty, no number or not positive."""
    out = np.full(len(table), np.nan)
    for row, cell in enumerate(table.texts(name).tolist() if table.has(name) else []):
        try:
            value = float(cell)
        except ValueError:
            continue
        out[row] = value if 0 < value < np.inf else np.nan
    return out


def _memory_interval(steps: Steps, of: Framework) -> Floats:
    peak = steps.peak_memory_bytes / GiB
    return np.stack([peak * float(of.memory_error_low), peak * float(of.memory_error_high)])


def _memory(table: Table, predicted: Floats, interval: Floats) -> FrozenMap[str, Compared]:
    measured = _numbers(table, "memory_GiB")
    if not np.isfinite(measured).any():
        return FrozenMap()
    known = np.isfinite(measured)
    low, high = (np.where(known, bound, np.nan) for bound in interval)
    return FrozenMap({"memory_GiB": Compared(
        predicted=np.where(known, predicted, np.nan), measured=measured, low=low, high=high)})  # fmt: skip
