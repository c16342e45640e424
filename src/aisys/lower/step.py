"""The time, memory and energy of one training step under each of many plans."""

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from aisys.errors import CannotApply
from aisys.lower import memory, recurrence
from aisys.lower.pipeline import PipelineTimes, program
from aisys.lower.shares import Setting, Shop
from aisys.lower.stages import PARTS, Stages, stages
from aisys.plan import Plan, PlanTable
from aisys.sim import Timeline, run
from aisys.units import PS_PER_S

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Shape = tuple[int, int, int, str]
COMPILER_S = 1.5
"""What loading the compiled sweep costs; it is worth it where the recurrence would take longer. Source: measured."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Steps:
    """One entry per plan. reason: why a plan cannot be ("" where it can); such plans take infinite time.

    time_s, low_s, high_s, energy_joule (all devices), peak_memory_bytes (largest device): arrays [plans].
    breakdown_s: [plans, PARTS] of the busiest stage's device. memory_bytes: [plans, memory.PARTS] of the fullest.
    """

    time_s: Floats
    low_s: Floats
    high_s: Floats
    energy_joule: Floats
    peak_memory_bytes: Floats
    memory_bytes: Floats
    breakdown_s: Floats
    reason: list[str]

    @classmethod
    def empty(cls, num_plans: int, reason: list[str]) -> "Steps":
        """Steps of plans that cannot be."""
        times = [np.full(num_plans, np.inf) for _ in range(5)]
        parts = np.zeros((num_plans, len(memory.PARTS))), np.zeros((num_plans, len(PARTS)))
        return cls(
            time_s=times[0], low_s=times[1], high_s=times[2], energy_joule=times[3], peak_memory_bytes=times[4],
            memory_bytes=parts[0], breakdown_s=parts[1], reason=reason,
        )  # fmt: skip

    @staticmethod
    def join(parts: Sequence["Steps"]) -> "Steps":
        """The plans of several results, in order."""
        arrays = {
            f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Steps) if f.name != "reason"
        }
        return Steps(**arrays, reason=[reason for p in parts for reason in p.reason])


def evaluate_steps(shop: Shop, plans: PlanTable) -> Steps:
    """Every plan of the table as one training step. A plan that cannot be gets its reason, never an error."""
    index = shop.indices(plans)
    reason = _reasons(shop, plans, index)
    out = Steps.empty(len(plans), reason)
    possible = np.array([not text for text in reason], bool)
    pipelines = plans["pipeline"].astype(np.int64) * (1 + plans["interleave"].max(initial=1)) + plans["interleave"]
    sweep = _Sweep(plans.take(np.flatnonzero(possible)))
    for pipeline in np.unique(pipelines[possible]):
        rows = np.flatnonzero(possible & (pipelines == pipeline))
        made = stages(shop.setting, plans.take(rows), shop.stacked, index[rows])
        _fill(out, rows, made, sweep.makespans(made) / PS_PER_S, shop.setting)
    return out


def timeline(shop: Shop, plan: Plan) -> tuple[Timeline, Stages]:
    """One plan's step, task by task. Raises CannotApply where the plan cannot be."""
    table = PlanTable.of([plan])
    index = shop.indices(table)
    reason = _reasons(shop, table, index)[0]
    if reason:
        raise CannotApply(reason)
    made = stages(shop.setting, table, shop.stacked, index)
    return run(program(pipeline_times(made, 0))), made


def interval(setting: Setting) -> tuple[float, float]:
    """The 90 % interval of a step as factors on its time, by the tier that predicts it."""
    framework = setting.framework
    if setting.tier == "limit":
        return float(framework.limit_error_low), float(framework.limit_error_high)
    return float(framework.error_low), float(framework.error_high)


def pipeline_times(made: Stages, row: int) -> PipelineTimes:
    """The durations of one plan in picoseconds."""
    forward, backward, send, gradients, optimizer = (
        _ps(a[row]) for a in (made.forward_s, made.backward_s, made.send_s, made.gradients_s, made.optimizer_s)
    )
    return PipelineTimes(
        num_stages=len(gradients), num_microbatches=int(made.plans["num_microbatches"][row]),
        schedule=str(made.plans["schedule"][row]), forward_ps=forward, backward_ps=backward, send_forward_ps=send,
        send_backward_ps=send, saved_bytes=made.saved_bytes[row].astype(np.int64), gradients_ps=gradients,
        optimizer_ps=optimizer,
    )  # fmt: skip


def _reasons(shop: Shop, plans: PlanTable, index: Ints) -> list[str]:
    """Why each plan cannot be; "" where it can."""
    setting, machine = shop.setting, shop.setting.machine
    reasons = [share if isinstance(share, str) else "" for share in shop.known]
    out = [reasons[i] for i in index.tolist()]
    p, v, m = (plans[name] for name in ("pipeline", "interleave", "num_microbatches"))
    devices = plans["tensor"] * p * plans["data"] * plans["context"]
    layers = sum(segment.repeat for segment in setting.graph.segments)
    has_host = machine.host is not None and machine.host_link is not None
    wrong = (
        (devices > machine.num_devices, lambda i: f"needs {devices[i]} devices; {machine.name} has "
                                                  f"{machine.num_devices}"),
        ((p * v > layers - 2) & (p * v != layers), lambda i: f"{p[i]} stages x {v[i]} chunks for {layers - 2} layers"),
        ((v > 1) & (p == 1), lambda i: "interleave needs more than one pipeline stage"),
        ((v > 1) & (m % p != 0), lambda i: f"{m[i]} microbatches are not a multiple of {p[i]} stages, as interleaving "
                                           "needs"),
        (plans["offload_optimizer"].astype(bool) & (not has_host),
         lambda i: f"optimizer offload needs a host, and {machine.name} names none"),
        (plans["hardware"] != "shared", lambda i: "a stage of hardware per layer is for image networks on FPGAs"),
        (plans["data"] % plans["expert"] != 0, lambda i: f"expert parallelism of {plans['expert'][i]} does not divide "
                                                         f"data parallelism of {plans['data'][i]}"),
    )  # fmt: skip
    for is_wrong, text in reversed(wrong):
        for i in np.flatnonzero(is_wrong).tolist():
            out[i] = reasons[index[i]] or text(i)
    return out


def _ps(seconds: Floats) -> Ints:
    return np.rint(seconds * PS_PER_S).astype(np.int64)


class _Sweep:
    """Runs the schedules of many plans, the cheaper of two ways: compiled where it pays for its loading."""

    def __init__(self, plans: PlanTable) -> None:
        num_slots = sum(2 * p * m * v for p, v, m, _ in set(_shapes(plans)) if p > 1)
        slow = num_slots * recurrence.SECONDS_PER_SLOT > COMPILER_S
        self.is_compiled = "aisys.lower.sweep" in sys.modules or slow

    def makespans(self, made: Stages) -> Ints:
        """The time of every plan's step in picoseconds: alone where there is no pipeline, else along its schedule."""
        forward, backward, send = _ps(made.forward_s), _ps(made.backward_s), _ps(made.send_s)
        gradients, optimizer = _ps(made.gradients_s), _ps(made.optimizer_s)
        if int(made.plans["pipeline"][0]) == 1:
            alone: Ints = made.plans["num_microbatches"] * (forward + backward).sum(1)
            return alone + gradients[:, 0] + optimizer[:, 0]
        out = np.zeros(len(forward), np.int64)
        shapes: dict[Shape, list[int]] = defaultdict(list)
        for row, shape in enumerate(_shapes(made.plans)):
            shapes[shape].append(row)
        for shape, rows in shapes.items():
            tails = gradients[rows], optimizer[rows]
            out[rows] = self._run(shape, forward[rows], backward[rows], send[rows], tails)
        return out

    def _run(self, shape: Shape, forward: Ints, backward: Ints, send: Ints, tails: tuple[Ints, Ints]) -> Ints:
        p, v, m, name = shape
        if not self.is_compiled:
            return recurrence.makespans((name, p, m, v), forward, backward, send, tails)
        from aisys.lower.sweep import makespans

        return makespans((name, p, m, v), forward, backward, send, tails)


def _shapes(plans: PlanTable) -> list[Shape]:
    """Stages, chunks, microbatches and schedule of every plan."""
    columns = (plans[name].tolist() for name in ("pipeline", "interleave", "num_microbatches", "schedule"))
    return list(zip(*columns, strict=True))


def _fill(out: Steps, rows: Ints, made: Stages, time: Floats, setting: Setting) -> None:
    busiest = made.breakdown_s.sum(2).argmax(1)
    pick = np.arange(len(rows))
    parts = made.breakdown_s[pick, busiest]
    parts[:, PARTS.index("bubble")] = np.maximum(0.0, time - parts.sum(1))
    memory_bytes = made.memory_bytes
    fullest = memory_bytes.sum(2).argmax(1)
    device = setting.machine.device
    num_devices = made.plans["tensor"] * made.plans["pipeline"] * made.plans["data"] * made.plans["context"]
    out.time_s[rows] = time
    low, high = interval(setting)
    out.low_s[rows], out.high_s[rows] = time * low, time * high
    out.energy_joule[rows] = made.active_joule + float(device.idle_watt) * num_devices * time
    out.memory_bytes[rows] = memory_bytes[pick, fullest]
    out.peak_memory_bytes[rows] = memory_bytes[pick, fullest].sum(1)
    out.breakdown_s[rows] = parts
