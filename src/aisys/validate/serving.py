"""Predicts tables of kind serving: mean time per output token of a serving engine at a fixed concurrency.

Columns: model_path, system, gemm_quant_mode, isl, osl, batch_size, tp_size, pp_size, attention_dp_size,
silicon_tpot_ms; backend and precision for groups. A decode step runs on the whole batch at the mean context
isl + osl / 2; between two of them the engine prefills the prompts that replace finished requests, batch_size / osl of
them per step. Queueing is not modelled, so the time to the first token is not compared.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from aisys.cost import Tier
from aisys.errors import AisysError, CannotApply
from aisys.ir import Graph
from aisys.lower.framework import Framework, framework
from aisys.lower.shares import Setting, Shop
from aisys.machine import Machine
from aisys.machine.load import machine
from aisys.plan import Plan, PlanTable
from aisys.search.serving import forward_passes
from aisys.technique.kernel_fusion import KernelFusion
from aisys.technique.serving_format import ServingFormat
from aisys.validate.prediction import Options, Prediction
from aisys.validate.table import Table
from aisys.workload import read

SYSTEMS = {
    "h100_sxm": "dgx-h100", "h200_sxm": "h200-node", "b200_sxm": "dgx-b200", "gb200": "gb200-nvl72",
    "gb200_sxm": "gb200-nvl72", "a100_sxm": "dgx-a100",
}  # fmt: skip
FORMATS = {
    "": ServingFormat(), "bfloat16": ServingFormat(), "float16": ServingFormat(),
    "fp8": ServingFormat(weights="fp8", activations="fp8"),
    "fp8_block": ServingFormat(weights="fp8_block", activations="fp8_block"),
    "nvfp4": ServingFormat(weights="nvfp4", activations="nvfp4"), "int4_wo": ServingFormat(weights="int4"),
    "int8_wo": ServingFormat(weights="int8"),
}  # fmt: skip

_COUNTS = ("isl", "osl", "batch_size", "tp_size", "pp_size")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row: the decode step and one prompt's prefill, on one replica; share: prompts per decode step."""

    decode: Graph
    prefill: Graph
    machine: Machine
    plan: Plan
    share: float


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """Time per output token of every row in ms."""
    used = framework("vllm")
    predicted = np.full(len(table), np.nan)
    skipped: list[tuple[int, str]] = []
    for row in range(len(table)):
        try:
            predicted[row] = parts(case(table, row, options), used, tier).tpot_s(used) * 1e3
        except AisysError as error:
            skipped.append((row, str(error)))
    return Prediction(
        predicted=predicted, measured=table.numbers("silicon_tpot_ms"), low=predicted * float(used.error_low),
        high=predicted * float(used.error_high), skipped=tuple(skipped),
        group_columns=("system", "backend", "model_path", "gemm_quant_mode"),
    )  # fmt: skip


def case(table: Table, row: int, options: Options) -> Case:
    """The question that a row asks. Raises CannotApply for attention data parallelism inside a replica."""
    value = {name: table.texts(name)[row] for name in ("model_path", "system", "gemm_quant_mode")}
    count = {name: int(table.counts(name, least=0, empty=0)[row]) for name in _COUNTS}
    if not (count["isl"] and count["osl"] and count["batch_size"]):
        raise CannotApply("isl, osl or batch_size is empty")
    ways = table.texts("attention_dp_size")[row]
    if ways not in ("", "0", "1"):
        raise CannotApply(f"attention data parallelism of {ways} inside one replica is not modelled")
    if value["system"] not in SYSTEMS or value["gemm_quant_mode"] not in FORMATS:
        raise CannotApply(
            f"system {value['system']!r} with {value['gemm_quant_mode']!r} matmuls is not in the catalogue"
        )
    num_stages = max(1, count["pp_size"])
    batch, tensor = count["batch_size"], max(1, count["tp_size"])
    context = count["isl"] + count["osl"] // 2
    return Case(
        decode=_graph(value["model_path"], value["gemm_quant_mode"], batch, 1, context),
        prefill=_graph(value["model_path"], value["gemm_quant_mode"], 1, count["isl"], 0),
        machine=machine(SYSTEMS[value["system"]], num_devices=tensor * num_stages, constants=options.constants),
        plan=Plan(tensor=tensor, pipeline=num_stages, micro_batch=batch), share=batch / count["osl"],
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A case with its kernels priced: what a framework makes of them costs no further pricing."""

    decode: Shop
    prefill: Shop
    plan: Plan
    share: float

    def tpot_s(self, used: Framework) -> float:
        """One decode step, and the share of a prefill that each step waits for."""
        one = Plan(tensor=self.plan.tensor, pipeline=self.plan.pipeline)
        step, prefill = _pass_s(self.decode.under(used), self.plan), _pass_s(self.prefill.under(used), one)
        return step + self.share * (prefill - float(used.step_s))


def parts(asked: Case, used: Framework, tier: Tier) -> Parts:
    """The case priced. Raises CannotApply where its plan cannot be."""
    shops = [
        Shop(Setting(graph=graph, machine=asked.machine, framework=used, tier=tier))
        for graph in (asked.decode, asked.prefill)
    ]
    return Parts(decode=shops[0], prefill=shops[1], plan=asked.plan, share=asked.share)


def _pass_s(shop: Shop, plan: Plan) -> float:
    passes = forward_passes(shop, PlanTable.of([plan]))
    if passes.reason[0]:
        raise CannotApply(passes.reason[0])
    return float(passes.time_s[0])


@lru_cache(maxsize=4096)
def _graph(name: str, formats: str, batch: int, tokens: int, cached: int) -> Graph:
    return KernelFusion().apply(FORMATS[formats].apply(read(name, batch=batch, tokens=tokens, cached_tokens=cached)))
