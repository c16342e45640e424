"""One plan, or many, evaluated on a machine."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from aisys.errors import BadInput, CannotApply, DoesNotFit
from aisys.frozen import FrozenMap
from aisys.ir import Graph
from aisys.lower import memory
from aisys.lower.stages import PARTS
from aisys.lower.step import Steps, evaluate_steps, timeline
from aisys.machine import Machine
from aisys.plan import Plan, PlanTable
from aisys.plan.space import training_plans
from aisys.report import Report
from aisys.report.quantity import gigabytes
from aisys.report.words import plan_words
from aisys.search import forward_pass, serving
from aisys.search.op_lines import op_lines
from aisys.search.provenance import all_sources, sources
from aisys.search.question import ForwardPass, Method, Question, Serving, ask, shop

ANALYTIC = Method()


def evaluate(
    workload: Graph | Serving | ForwardPass, machine: Machine, *, techniques: Sequence[Any] = (),
    plan: Plan | None = None, method: Method = ANALYTIC,
) -> Report:  # fmt: skip
    """Time, energy, memory and price of one plan, with where the time goes.

    workload: a graph whose batch is the global batch, with TrainingStep among the techniques; or a Serving,
    or a ForwardPass.
    plan: without one, the fastest plan that fits among those that the techniques leave.
    Raises CannotApply where the plan cannot be, DoesNotFit where no plan fits.

    >>> import aisys
    >>> graph = aisys.read("llama-3.1-8b", batch=128, tokens=8192)
    >>> report = aisys.evaluate(graph, aisys.machine("dgx-h100"), techniques=[aisys.TrainingStep()])
    >>> report.goal, report.plan.num_devices
    ('train', 8)
    """
    if isinstance(workload, ForwardPass):
        return forward_pass.evaluate(forward_pass.ask(workload, machine, techniques, method), plan)
    question = ask(workload, machine, techniques, method)
    if question.goal == "infer":
        return serving.evaluate(question, plan)
    if plan is None:
        table = possible_plans(question)
        steps = evaluate_steps(shop(question), table)
        fits = steps.peak_memory_bytes <= float(machine.device.main_memory.capacity_bytes)
        if not fits.any():
            raise does_not_fit(question, table, steps)
        plan = table.plan(int(np.where(fits, steps.time_s, np.inf).argmin()))
    if plan.global_batch != question.shape.batch:
        raise BadInput(
            f"the plan runs {plan.global_batch} sequences per step (micro_batch x num_microbatches x data), "
            f"the workload has {question.shape.batch}; make them equal"
        )
    return train_report(question, plan)


def evaluate_many(
    workload: Graph, machine: Machine, plans: PlanTable, *, techniques: Sequence[Any] = (), method: Method = ANALYTIC
) -> Steps:
    """Every plan of `plans` as one training step: arrays [plans]. `evaluate` is its one-row case.

    A plan that cannot be has infinite time and a reason. Whether memory suffices is left to the caller.
    """
    return evaluate_steps(shop(ask(workload, machine, techniques, method)), plans)


def possible_plans(question: Question) -> PlanTable:
    """The training plans of the question's space. Raises CannotApply where there is none."""
    machine = question.machine
    plans = training_plans(question.space, machine, question.shape)
    if not len(plans):
        raise CannotApply(
            f"no plan uses all {machine.num_devices} devices of {machine.name} for a batch of {question.shape.batch}; "
            "change the batch, the number of devices or a degree"
        )
    return plans


def train_report(question: Question, plan: Plan, *, has_timeline: bool = True) -> Report:
    """The report of one training plan, with every op and, where asked for, its timeline."""
    priced = shop(question)
    table = PlanTable.of([plan])
    steps = evaluate_steps(priced, table)
    if steps.reason[0]:
        raise CannotApply(steps.reason[0])
    made = timeline(priced, plan)[0] if has_timeline else None
    machine, time_s = question.machine, float(steps.time_s[0])
    tokens = question.shape.batch * question.shape.tokens
    device = machine.device
    usd_per_s = float(device.price_usd_per_hour) * plan.num_devices / 3600
    breakdown = {name: float(s) for name, s in zip(PARTS, steps.breakdown_s[0], strict=True) if s > 0}
    held = {name: float(b) for name, b in zip(memory.PARTS, steps.memory_bytes[0], strict=True) if b > 0}
    peak, capacity = float(steps.peak_memory_bytes[0]), float(device.main_memory.capacity_bytes)
    over = peak - capacity
    share = priced.known[int(priced.indices(table)[0])]
    keys = share.keys if not isinstance(share, str) else frozenset()
    return Report(
        workload=question.graph.name, machine=machine.name, goal="train", plan=plan, time_s=time_s,
        low_s=float(steps.low_s[0]), high_s=float(steps.high_s[0]), throughput_per_s=tokens / time_s,
        energy_joule=float(steps.energy_joule[0]), peak_memory_bytes=peak, capacity_bytes=capacity,
        usd_per_million=usd_per_s * time_s / tokens * 1e6, memory_bytes=FrozenMap(held),
        breakdown_s=FrozenMap(breakdown),
        metrics=FrozenMap({"tokens_per_step": float(tokens), "mfu": _mfu(question, plan, time_s)}),
        bound=max(breakdown, key=breakdown.__getitem__), tier=question.tier,
        reason=f"needs {gigabytes(over)} more than one {device.name} has" if over > 0 else "",
        assumptions=_assumptions(question, plan), ops=op_lines(question.setting, plan), timeline=made,
        provenance=(*sources(keys, machine), *_machine_facts(question), *all_sources(question.framework)),
    )  # fmt: skip


def _mfu(question: Question, plan: Plan, time_s: float) -> float:
    """Model flop utilisation: three times the forward flop over the peak of all devices (Chowdhery et al. 2022)."""
    forward = sum(
        s.repeat * sum(op.flop for op in s.block.ops if op.phase == "forward" and op.kind in _PRODUCTS)
        for s in question.graph.segments
    )
    peaks = getattr(question.machine.device.architecture, "flop_per_s", {})
    math = "bf16" if plan.precision == "fp8" else plan.precision
    return 3.0 * forward / (time_s * plan.num_devices * float(peaks[math])) if math in peaks else 0.0


_PRODUCTS = ("matmul", "grouped_matmul", "conv", "attention")


def _machine_facts(question: Question) -> tuple[Any, ...]:
    device = question.machine.device
    links = (link.bandwidth_bytes_per_s for link in question.machine.links.values())
    return (device.price_usd_per_hour, device.idle_watt, device.main_memory.capacity_bytes, *links)


def _assumptions(question: Question, plan: Plan) -> tuple[str, ...]:
    device = question.machine.device
    out = [
        f"framework {question.framework.name}: {question.framework.compute_factor.kind} constants",
        f"{device.name} costs {float(device.price_usd_per_hour):.2f} USD per hour ({device.price_usd_per_hour.kind})",
        "experts are loaded evenly" if any("expert" in op.space for b in question.graph.blocks for op in b.ops) else "",
        "every device runs at the same speed and no link is shared with other jobs",
    ]
    return tuple(sentence for sentence in out if sentence)


def does_not_fit(question: Question, table: PlanTable, steps: Steps) -> DoesNotFit:
    """The error that says how many bytes are missing on which device, and the smallest change that fits."""
    device = question.machine.device
    possible = np.isfinite(steps.peak_memory_bytes)
    if not possible.any():
        return DoesNotFit(f"no plan is possible on {question.machine.name}: {steps.reason[0]}")
    best = int(np.where(possible, steps.peak_memory_bytes, np.inf).argmin())
    over = float(steps.peak_memory_bytes[best]) - float(device.main_memory.capacity_bytes)
    return DoesNotFit(
        f"{question.graph.name} does not fit {question.machine.name}: the leanest of {len(table):,} plans, "
        f"{plan_words(table.plan(best))}, needs {gigabytes(over)} more than each {device.name} has; "
        f"{_smallest_change(question, table)}"
    )


def _smallest_change(question: Question, table: PlanTable) -> str:
    from aisys.machine import load

    name, _, count = question.machine.name.partition("*")
    for factor in (2, 4, 8, 16, 32, 64):
        num_nodes = int(count or 1) * factor
        try:
            wider = load.machine(f"{name}*{num_nodes}")
        except (BadInput, CannotApply):
            break
        asked = replace(question, machine=wider)
        plans = training_plans(asked.space, wider, asked.shape)
        if not len(plans):
            continue
        peaks = evaluate_steps(shop(asked), plans).peak_memory_bytes
        if (peaks <= float(wider.device.main_memory.capacity_bytes)).any():
            return f"{wider.name} ({wider.num_devices} devices) is the smallest multiple that fits"
    return "no multiple of this machine up to 64 times as large fits it"
