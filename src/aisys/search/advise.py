"""What to change in a plan that somebody already runs."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from aisys.ir import Graph
from aisys.lower.step import Steps
from aisys.machine import Machine
from aisys.plan import Plan, PlanTable
from aisys.report import Report
from aisys.search.evaluate import ANALYTIC, possible_plans, train_report
from aisys.search.exhaustive import QUIET, evaluate_in_batches
from aisys.search.question import Method, ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """`now`: the plan as given. `best`: the fastest plan that fits. changes: best first, each one what to set and the
    time per step that the given plan would then take; only changes that fit and gain.
    """

    now: Report
    best: Report
    changes: tuple[tuple[str, float], ...]


def advise(
    workload: Graph, machine: Machine, plan: Plan, *, techniques: Sequence[Any] = (), method: Method = ANALYTIC
) -> Advice:
    """The given training plan beside the best one, and the small steps from the one towards the other.

    A small step changes one decision, together with those that it forces (replicas, microbatches).
    """
    question = ask(workload, machine, techniques, method)
    table = PlanTable.of([plan, *possible_plans(question)])
    steps: Steps = evaluate_in_batches(question, table, QUIET)
    fits = steps.peak_memory_bytes <= float(machine.device.main_memory.capacity_bytes)
    times = np.where(fits, steps.time_s, np.inf)
    now = float(steps.time_s[0])
    changes: dict[str, float] = {}
    for row in np.argsort(times, kind="stable").tolist():
        if not times[row] < now:
            break
        said = _one_change(plan, table.plan(row))
        if said and said not in changes:
            changes[said] = float(times[row])
    best = table.plan(int(times.argmin())) if np.isfinite(times).any() else plan
    return Advice(now=train_report(question, plan), best=train_report(question, best), changes=tuple(changes.items()))


_FORCED = {"data", "num_microbatches", "sequence_parallel"}


def _one_change(before: Plan, after: Plan) -> str:
    """`tensor 8 -> 4`, or "" where more than one free decision differs."""
    differs = [f.name for f in fields(Plan) if getattr(before, f.name) != getattr(after, f.name)]
    free = [name for name in differs if name not in _FORCED]
    if len(free) != 1:
        return ""
    forced = "".join(f", {n} {getattr(before, n)} -> {getattr(after, n)}" for n in differs if n in _FORCED)
    return f"{free[0]} {getattr(before, free[0])} -> {getattr(after, free[0])}{forced}"
