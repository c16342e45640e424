"""Serving: one prefill of a batch and one decode step after it, on replicas of a model spread over devices."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.errors import BadInput, CannotApply, DoesNotFit
from aisys.frozen import FrozenMap
from aisys.lower import memory
from aisys.lower.shares import Shares, Shop
from aisys.lower.stages import PARTS, Stages, stages
from aisys.machine import Machine
from aisys.plan import Plan, PlanTable
from aisys.plan.space import FIELDS, PlanSpace, WorkloadShape, powers_of_two
from aisys.report import Frontier, Report
from aisys.report.quantity import gigabytes
from aisys.search.op_lines import op_lines
from aisys.search.pareto import pareto
from aisys.search.provenance import all_sources, sources
from aisys.search.question import Question, shop

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Served:
    """One entry per plan: ttft_s of a prompt, tpot_s of one decode step, energy of that step over all devices,
    device memory by part, breakdown of the decode step; reason: why a plan cannot be.
    """

    ttft_s: Floats
    tpot_s: Floats
    energy_joule: Floats
    memory_bytes: Floats
    breakdown_s: Floats
    reason: list[str]


def decode_of(question: Question) -> Question:
    """The same question about one decode step: the prompt's graph, read again with one token and a full cache."""
    assert question.decode is not None, "ask() gives every infer question its decode graph"
    return replace(question, graph=question.decode, decode=None)


def serving_plans(space: PlanSpace, machine: Machine, shape: WorkloadShape) -> PlanTable:
    """Every plan of the space: tensor inside a node, pipeline, replicas; micro_batch is one replica's batch."""
    node = next(iter(machine.mesh.values()), 1)
    tensors = space.choices.get("tensor", powers_of_two(node))
    pipelines = space.choices.get("pipeline", powers_of_two(min(8, shape.num_layers)))
    experts = space.choices.get("expert", powers_of_two(shape.num_experts))
    precision = space.values("precision", ("bf16",))[0]
    rows = []
    for tensor, pipeline, expert in product(tensors, pipelines, experts):
        data, rest = divmod(machine.num_devices, tensor * pipeline)
        wanted = space.choices.get("data", (data,))
        if rest or not data or data not in wanted or data % expert or shape.batch % data:
            continue
        degrees = {"tensor": tensor, "pipeline": pipeline, "data": data, "expert": expert}
        rows.append(Plan(**degrees, micro_batch=shape.batch // data, precision=precision))
    return PlanTable.of(rows) if rows else PlanTable(FrozenMap({name: np.array([]) for name in FIELDS}))


def evaluate_served(question: Question, plans: PlanTable) -> Served:
    """Prefill and decode of every plan."""
    decode = decode_of(question)
    first, step = forward_passes(shop(question), plans), forward_passes(shop(decode), plans)
    reason = [a or b for a, b in zip(first.reason, step.reason, strict=True)]
    memory_bytes = np.maximum(first.memory_bytes, step.memory_bytes)
    return Served(
        ttft_s=first.time_s, tpot_s=step.time_s, energy_joule=step.energy_joule, memory_bytes=memory_bytes,
        breakdown_s=step.breakdown_s, reason=reason,
    )  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class ForwardPasses:
    """One pass of a forward graph under each plan: arrays [plans], memory and breakdown by part; reason: why not."""

    time_s: Floats
    energy_joule: Floats
    memory_bytes: Floats
    breakdown_s: Floats
    reason: list[str]


def forward_passes(priced: Shop, plans: PlanTable) -> ForwardPasses:
    """Every plan's latency of one pass, and the fixed time that the framework adds to it."""
    index = priced.indices(plans)
    known = [priced.known[i] for i in index]
    reason = [share if isinstance(share, str) else "" for share in known]
    time_s, energy = np.full(len(plans), np.inf), np.full(len(plans), np.inf)
    held, parts = np.full((len(plans), len(memory.PARTS)), np.inf), np.zeros((len(plans), len(PARTS)))
    for row, share in enumerate(known):
        if not isinstance(share, Shares):
            continue
        table = plans.take(np.array([row]))
        if int(table["pipeline"][0]) > len(priced.setting.graph.layers) - 2:
            reason[row] = f"{int(table['pipeline'][0])} stages for {len(priced.setting.graph.layers) - 2} layers"
            continue
        made = stages(priced.setting, table, priced.stacked, index[[row]])
        time_s[row], parts[row] = _latency(priced, made)
        idle_watt = float(priced.setting.machine.device.idle_watt) * table.plan(0).num_devices
        energy[row] = made.active_joule[0] + idle_watt * time_s[row]
        fullest = int(made.memory_bytes[0].sum(1).argmax())
        held[row] = made.memory_bytes[0, fullest]
    return ForwardPasses(time_s=time_s, energy_joule=energy, memory_bytes=held, breakdown_s=parts, reason=reason)


def _latency(priced: Shop, made: Stages) -> tuple[float, Floats]:
    """One pass through all stages in turn, and what the time is spent on."""
    sends = float(made.send_s[0, :-1].sum())
    fixed = float(priced.setting.framework.step_s)
    parts = made.breakdown_s[0].sum(0)
    parts[[PARTS.index("optimizer"), PARTS.index("gradients")]] = 0.0
    parts[PARTS.index("host")] += fixed
    parts[PARTS.index("bubble")] = sends
    total = float(made.forward_s[0].sum()) + sends + fixed
    return total, parts * (total / parts.sum())


def report(question: Question, plan: Plan, served: Served, row: int) -> Report:
    """The report of one serving plan."""
    machine, device = question.machine, question.machine.device
    tpot = float(served.tpot_s[row])
    tokens_per_s = question.shape.batch / tpot
    usd_per_s = float(device.price_usd_per_hour) * plan.num_devices / 3600
    held = {n: float(b) for n, b in zip(memory.PARTS, served.memory_bytes[row], strict=True) if b > 0}
    breakdown = {n: float(s) for n, s in zip(PARTS, served.breakdown_s[row], strict=True) if s > 0}
    names = {"bubble": "sends"}
    breakdown = {names.get(n, n): s for n, s in breakdown.items()}
    peak, capacity = sum(held.values()), float(device.main_memory.capacity_bytes)
    framework = question.framework
    over = peak - capacity
    decode = decode_of(question)
    return Report(
        workload=question.graph.name, machine=machine.name, goal="infer", plan=plan, time_s=tpot,
        low_s=tpot * float(framework.error_low), high_s=tpot * float(framework.error_high),
        throughput_per_s=tokens_per_s, energy_joule=float(served.energy_joule[row]), peak_memory_bytes=peak,
        capacity_bytes=capacity, usd_per_million=usd_per_s / tokens_per_s * 1e6, memory_bytes=FrozenMap(held),
        breakdown_s=FrozenMap(breakdown),
        metrics=FrozenMap({"ttft_s": float(served.ttft_s[row]), "tpot_s": tpot}),
        bound=max(breakdown, key=breakdown.__getitem__), tier=question.tier,
        reason=f"needs {gigabytes(over)} more than one {device.name} has" if over > 0 else "",
        assumptions=(
            f"layers keep their weights in {_weight_formats(decode)}",
            f"all {question.shape.batch} sequences arrive together and decode in step; queueing is not modelled",
            f"framework {framework.name}: {framework.step_s.kind} constants",
        ),
        provenance=(*sources(_keys(decode, plan), machine), *all_sources(framework)),
        ops=op_lines(decode.setting, plan),
    )  # fmt: skip


def _weight_formats(question: Question) -> str:
    layers = question.graph.segments[1:-1]
    return ", ".join(sorted({t.dtype.name for s in layers for t in s.block.tensors_of("weight")}))


def _keys(question: Question, plan: Plan) -> frozenset[str]:
    priced = shop(question)
    share = priced.known[int(priced.indices(PlanTable.of([plan]))[0])]
    return share.keys if isinstance(share, Shares) else frozenset()


def evaluate(question: Question, plan: Plan | None) -> Report:
    """The report of `plan`, or of the plan with the shortest decode step that fits."""
    if plan is None:
        return search(question, ("time_s", "energy_joule"), 1, {}).reports[0]
    if plan.micro_batch * plan.data != question.shape.batch:
        raise BadInput(
            f"the plan serves {plan.micro_batch * plan.data} sequences, the workload has {question.shape.batch}"
        )
    if plan.hardware != "shared":
        raise CannotApply("a stage of hardware per layer is for image networks on FPGAs; take hardware shared")
    served = evaluate_served(question, PlanTable.of([plan]))
    if served.reason[0]:
        raise CannotApply(served.reason[0])
    return report(question, plan, served, 0)


def search(question: Question, objectives: tuple[str, ...], top: int, at_most: Mapping[str, float]) -> Frontier:
    """The serving plans with the shortest decode step that fit and keep `at_most` (ttft_s, tpot_s)."""
    plans = serving_plans(question.space, question.machine, question.shape)
    if not len(plans):
        raise CannotApply(
            f"no plan spreads a batch of {question.shape.batch} over the {question.machine.num_devices} devices of "
            f"{question.machine.name}; choose a batch that the number of replicas divides"
        )
    served = evaluate_served(question, plans)
    capacity = float(question.machine.device.main_memory.capacity_bytes)
    peak = served.memory_bytes.sum(1)
    fits = peak <= capacity
    if not fits.any():
        raise _too_big(question, peak, capacity, served.reason)
    keeps = fits & np.all([getattr(served, name) <= limit for name, limit in at_most.items()] or [fits], axis=0)
    if not keeps.any():
        raise _too_slow(question, served, fits, at_most)
    rows = np.flatnonzero(keeps)
    values = {"time_s": served.tpot_s, "energy_joule": served.energy_joule, "peak_memory_bytes": peak}
    front = rows[pareto(np.column_stack([values[name][rows] for name in objectives]))]
    order = rows[np.argsort(served.tpot_s[rows], kind="stable")]
    chosen = list(dict.fromkeys([*order[:top].tolist(), *front.tolist()]))
    chosen.sort(key=lambda row: float(served.tpot_s[row]))
    num_over = int((np.isfinite(peak) & ~fits).sum())
    return Frontier(
        workload=question.graph.name, machine=question.machine.name, goal="infer", objectives=objectives,
        reports=tuple(report(question, plans.plan(row), served, row) for row in chosen),
        pareto=tuple(chosen.index(row) for row in front.tolist()), num_evaluated=len(plans),
        num_pruned=sum(1 for reason in served.reason if reason),
        binding_constraint=(
            f"memory of {question.machine.device.name} rules out {num_over} of {len(plans)} plans" if num_over
            else "nothing: every plan of the space fits"
        ),
    )  # fmt: skip


def _too_big(question: Question, peak: Floats, capacity: float, reason: list[str]) -> DoesNotFit:
    if not np.isfinite(peak).any():
        return DoesNotFit(f"no plan is possible on {question.machine.name}: {reason[0]}")
    over = float(peak[np.isfinite(peak)].min()) - capacity
    return DoesNotFit(
        f"{question.graph.name} with {question.shape.batch} sequences does not fit {question.machine.name}: the "
        f"leanest plan needs {gigabytes(over)} more than each {question.machine.device.name} has; use more devices, a "
        "smaller batch or smaller number formats"
    )


def _too_slow(question: Question, served: Served, fits: NDArray[np.bool_], at_most: Mapping[str, Any]) -> DoesNotFit:
    name, limit = next(iter(at_most.items()))
    best = float(getattr(served, name)[fits].min())
    return DoesNotFit(
        f"no plan on {question.machine.name} keeps {name} at most {limit:.6g} s: the best reaches {best:.6g} s"
    )
