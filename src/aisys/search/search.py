"""The best plans of a space, by exhaustive evaluation with pruning, and the constraint that rules out the rest."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.cost import Tier
from aisys.errors import CannotApply, unknown_name
from aisys.ir import Graph
from aisys.lower.step import Steps, evaluate_steps
from aisys.machine import Machine
from aisys.plan import PlanTable
from aisys.plan.space import training_plans
from aisys.report import Frontier
from aisys.search import serving
from aisys.search.evaluate import GiB, does_not_fit, train_report
from aisys.search.pareto import pareto
from aisys.search.question import Question, ask, shop

OBJECTIVES = ("time_s", "energy_joule", "peak_memory_bytes")
BATCH_OF_PLANS = 4096
Progress = Callable[[int, int], None]
Floats = NDArray[np.float64]


def search(
    graph: Graph, machine: Machine, *, techniques: Sequence[Any] = (), objectives: Sequence[str] = ("time_s", "energy_joule"),
    top: int = 10, framework: str = "", tier: Tier = "analytic", progress: Progress | None = None,
    decode: Graph | None = None, at_most: Mapping[str, float] | None = None,
) -> Frontier:  # fmt: skip
    """The `top` fastest plans that fit, those on the Pareto front of `objectives`, and what rules out the others.

    A forward graph is served: it is the prefill, `decode` the graph of one decode step, and `at_most` holds limits
    in seconds by name (ttft_s, tpot_s). Every plan of the space is evaluated; `progress(done, total)` is called between batches of plans.
    Raises DoesNotFit where no plan fits, with the bytes that are missing and the smallest change that fits.
    """
    for name in objectives:
        if name not in OBJECTIVES:
            raise unknown_name("objective", name, OBJECTIVES)
    question = ask(graph, machine, techniques, framework_name=framework, tier=tier, decode=decode)
    if question.goal == "infer":
        return serving.search(question, tuple(objectives), top, at_most or {})
    plans = training_plans(question.space, machine, question.batch, len(graph.layers) - 2)
    if not len(plans):
        raise CannotApply(
            f"no plan uses all {machine.num_devices} devices of {machine.name} for a batch of {question.batch}; "
            "change the batch, the number of devices or a degree"
        )
    steps = evaluate_in_batches(question, plans, progress)
    fits = steps.peak_memory_bytes <= float(machine.device.main_memory.capacity_bytes)
    if not fits.any():
        raise does_not_fit(question, plans, steps)
    values = np.column_stack([getattr(steps, name) for name in objectives])
    rows = np.flatnonzero(fits)
    order = rows[np.argsort(steps.time_s[rows], kind="stable")]
    front = rows[pareto(values[rows])]
    chosen = list(dict.fromkeys([*order[:top].tolist(), *front.tolist()]))
    chosen.sort(key=lambda row: float(steps.time_s[row]))
    place = {row: i for i, row in enumerate(chosen)}
    return Frontier(
        workload=graph.name, machine=machine.name, goal="train", objectives=tuple(objectives),
        reports=tuple(train_report(question, plans.plan(row)) for row in chosen),
        pareto=tuple(sorted(place[row] for row in front.tolist())), num_evaluated=len(plans),
        num_pruned=sum(1 for reason in steps.reason if reason),
        binding_constraint=_binding(question, plans, steps, fits),
    )  # fmt: skip


def evaluate_in_batches(question: Question, plans: PlanTable, progress: Progress | None) -> Steps:
    """`evaluate_steps` with a call of `progress` between batches."""
    priced = shop(question)
    if progress is None or len(plans) <= BATCH_OF_PLANS:
        return evaluate_steps(priced, plans)
    parts = []
    for start in range(0, len(plans), BATCH_OF_PLANS):
        progress(start, len(plans))
        parts.append(evaluate_steps(priced, plans.take(np.arange(start, min(start + BATCH_OF_PLANS, len(plans))))))
    progress(len(plans), len(plans))
    return Steps.join(parts)


def _binding(question: Question, plans: PlanTable, steps: Steps, fits: NDArray[np.bool_]) -> str:
    """What stands between the best plan that fits and the best plan at all; what rules out most plans otherwise."""
    device = question.machine.device
    best_fitting = float(steps.time_s[fits].min())
    faster = np.flatnonzero(~fits & np.isfinite(steps.time_s) & (steps.time_s < best_fitting))
    if len(faster):
        row = faster[np.argmin(steps.time_s[faster])]
        over = (float(steps.peak_memory_bytes[row]) - float(device.main_memory.capacity_bytes)) / GiB
        gain = 1 - float(steps.time_s[row]) / best_fitting
        return (
            f"memory of {device.name}: a plan {gain:.1%} faster needs {over:.1f} GiB more per device "
            f"({_name(plans, int(row))})"
        )
    num_over = int((~fits & np.isfinite(steps.time_s)).sum())
    if num_over:
        return f"memory of {device.name} rules out {num_over} plans, none of them faster than the best one shown"
    reasons = [reason for reason in steps.reason if reason]
    return max(set(reasons), key=reasons.count) if reasons else "nothing: every plan of the space fits"


def _name(plans: PlanTable, row: int) -> str:
    p = plans.plan(row)
    return (
        f"tensor {p.tensor}, pipeline {p.pipeline}x{p.interleave}, data {p.data} {p.sharding}, "
        f"micro_batch {p.micro_batch}, recompute {p.recompute}"
    )
