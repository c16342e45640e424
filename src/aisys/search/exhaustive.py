"""The best plans of a space, by exhaustive evaluation with pruning, and the constraint that rules out the rest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.errors import BadInput, DoesNotFit, unknown_name
from aisys.ir import Graph
from aisys.lower.step import Steps, evaluate_steps
from aisys.machine import Machine
from aisys.plan import PlanTable
from aisys.report import Frontier
from aisys.report.quantity import gigabytes, percent
from aisys.report.words import plan_words
from aisys.search import forward_pass, serving
from aisys.search.evaluate import ANALYTIC, does_not_fit, possible_plans, train_report
from aisys.search.pareto import pareto
from aisys.search.question import ForwardPass, Method, Question, Serving, ask, shop
from aisys.search.store import Store

OBJECTIVES = ("time_s", "energy_joule", "peak_memory_bytes")
BATCH_OF_PLANS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What happens while a search runs: `progress(done, total)` after each batch of plans; `store` keeps results."""

    progress: Callable[[int, int], None] | None = None
    store: Store | None = None


QUIET = Watch()


def search(
    workload: Graph | Serving | ForwardPass, machine: Machine, *, techniques: Sequence[Any] = (),
    objectives: Sequence[str] = OBJECTIVES[:2], at_most: Mapping[str, float] | None = None, top: int = 10,
    method: Method = ANALYTIC, watch: Watch = QUIET,
) -> Frontier:  # fmt: skip
    """The `top` fastest plans that fit, those on the Pareto front of `objectives`, and what rules out the others.

    Only the report of the fastest plan has its timeline; `evaluate` gives that of any other.

    workload: as in `evaluate`. at_most: limits in seconds by name: time_s of a training step, ttft_s or tpot_s of a
    Serving, latency_s of a ForwardPass. Every plan of the space is evaluated; `watch` shows progress and keeps results
    for a later run.
    Raises DoesNotFit where no plan fits, with the bytes that are missing and the smallest change that fits.
    """
    for name in objectives:
        if name not in OBJECTIVES:
            raise unknown_name("objective", name, OBJECTIVES)
    if isinstance(workload, ForwardPass):
        asked = forward_pass.ask(workload, machine, techniques, method)
        return forward_pass.search(asked, tuple(objectives), top, at_most or {})
    question = ask(workload, machine, techniques, method)
    limits = _limits(question, at_most or {})
    if question.goal == "infer":
        return serving.search(question, tuple(objectives), top, limits)
    plans = possible_plans(question)
    steps = evaluate_in_batches(question, plans, watch)
    fits = steps.peak_memory_bytes <= float(machine.device.main_memory.capacity_bytes)
    if not fits.any():
        raise does_not_fit(question, plans, steps)
    if "time_s" in limits and float(steps.time_s[fits].min()) > limits["time_s"]:
        best = float(steps.time_s[fits].min())
        limit = limits["time_s"]
        raise DoesNotFit(f"no plan on {machine.name} keeps time_s at most {limit:.6g} s: the best takes {best:.6g} s")
    values = np.column_stack([getattr(steps, name) for name in objectives])
    rows = np.flatnonzero(fits)
    order = rows[np.argsort(steps.time_s[rows], kind="stable")]
    front = rows[pareto(values[rows])]
    chosen = list(dict.fromkeys([*order[:top].tolist(), *front.tolist()]))
    chosen.sort(key=lambda row: float(steps.time_s[row]))
    place = {row: i for i, row in enumerate(chosen)}
    return Frontier(
        workload=question.graph.name, machine=machine.name, goal="train", objectives=tuple(objectives),
        reports=tuple(train_report(question, plans.plan(row), has_timeline=row == chosen[0]) for row in chosen),
        pareto=tuple(sorted(place[row] for row in front.tolist())), num_evaluated=len(plans),
        num_pruned=sum(1 for reason in steps.reason if reason),
        binding_constraint=_binding(question, plans, steps, fits),
    )  # fmt: skip


def _limits(question: Question, at_most: Mapping[str, float]) -> Mapping[str, float]:
    known = ("time_s",) if question.goal == "train" else ("ttft_s", "tpot_s")
    for name, limit in at_most.items():
        if name not in known:
            raise unknown_name("limit", name, known)
        if not limit > 0:
            raise BadInput(f"the limit of {name} is {limit}; give a positive number of seconds")
    return at_most


def evaluate_in_batches(question: Question, plans: PlanTable, watch: Watch) -> Steps:
    """`evaluate_steps` batch by batch: what the store knows is not computed again, and what is computed is kept."""
    priced = shop(question)
    parts = []
    for start in range(0, len(plans), BATCH_OF_PLANS):
        batch = plans.take(np.arange(start, min(start + BATCH_OF_PLANS, len(plans))))
        known = watch.store.get(question, batch) if watch.store else None
        steps = known or evaluate_steps(priced, batch)
        if watch.store and known is None:
            watch.store.put(question, batch, steps)
        parts.append(steps)
        if watch.progress:
            watch.progress(min(start + BATCH_OF_PLANS, len(plans)), len(plans))
    return parts[0] if len(parts) == 1 else Steps.join(parts)


def _binding(question: Question, plans: PlanTable, steps: Steps, fits: NDArray[np.bool_]) -> str:
    """What stands between the best plan that fits and the best plan at all; what rules out most plans otherwise."""
    device = question.machine.device
    best_fitting = float(steps.time_s[fits].min())
    faster = np.flatnonzero(~fits & np.isfinite(steps.time_s) & (steps.time_s < best_fitting))
    if len(faster):
        over_bytes = steps.peak_memory_bytes[faster] - float(device.main_memory.capacity_bytes)
        nearest = int(over_bytes.argmin())
        gains = (1 - steps.time_s[faster] / best_fitting).tolist()
        more = f"; with enough memory a step would take {_less(max(gains))}" * (max(gains) > gains[nearest])
        return (
            f"memory of {device.name} rules out {len(faster)} faster plan{'s' * (len(faster) > 1)}: the nearest, "
            f"{plan_words(plans.plan(int(faster[nearest])))}, needs {gigabytes(float(over_bytes[nearest]))} more per "
            f"device and takes {_less(gains[nearest])} time{more}"
        )
    num_over = int((~fits & np.isfinite(steps.time_s)).sum())
    if num_over:
        return f"memory of {device.name} rules out {num_over} plan{'s' * (num_over > 1)}, none faster than the best"
    reasons = [reason for reason in steps.reason if reason]
    return max(set(reasons), key=reasons.count) if reasons else "nothing: every plan of the space fits"


def _less(gain: float) -> str:
    return f"{percent(gain, 2)} less" if gain >= 0.001 else "hardly less"
