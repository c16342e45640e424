"""What a person gets: one evaluated plan with everything that its number rests on."""

from dataclasses import dataclass, field
from typing import Any

from aisys.frozen import FrozenMap
from aisys.plan import Plan
from aisys.sim import Timeline
from aisys.units import Sourced


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A quality that a real run measured; never simulated, never looked up."""

    metric: str
    value: float
    baseline: float
    dataset: str
    num_samples: int
    interval_95: tuple[float, float]
    seed: int
    software: str
    hardware: str
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpLine:
    """One kernel or transfer of one repetition of a block on one device. phase: forward, recompute, ...

    kind: op kind, or the collective. time_s once; `repeat` repetitions of the block in the whole model.
    bound: what limits it. flop and traffic_bytes: of one device (0 flop for transfers).
    """

    block: str
    name: str
    phase: str
    kind: str
    repeat: int
    time_s: float
    flop: float
    traffic_bytes: float
    bound: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One plan on one machine. goal: train (one step) or infer (one prefill and one decode step, or a batch of images).

    time_s: the step (train), one decode step or the batch (infer), with its 90 % interval low_s, high_s. unit: what
    throughput_per_s counts for the whole machine and usd_per_million prices, token or image. energy_joule: per step,
    all devices used. memory_bytes: part to bytes on the fullest device; capacity_bytes: what it has. metrics: further
    named results (ttft_s, tpot_s, latency_s, tokens_per_step, mfu, ...). breakdown_s: part to seconds on the
    busiest device, summing to time_s. bound: the largest part. reason: why it does not fit ("" where it does).
    """

    workload: str
    machine: str
    goal: str
    plan: Plan
    time_s: float
    low_s: float
    high_s: float
    throughput_per_s: float
    energy_joule: float
    peak_memory_bytes: float
    capacity_bytes: float
    usd_per_million: float
    memory_bytes: FrozenMap[str, float]
    breakdown_s: FrozenMap[str, float]
    metrics: FrozenMap[str, float]
    bound: str
    tier: str
    reason: str = ""
    unit: str = "token"
    quality: Measurement | None = None
    assumptions: tuple[str, ...] = ()
    provenance: tuple[Sourced, ...] = ()
    ops: tuple[OpLine, ...] = ()
    timeline: Timeline | None = field(default=None, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """The plan's line in `aisys plan --json`."""
        return {
            "plan": self.plan.as_dict(), "time_s": self.time_s, "throughput_per_s": self.throughput_per_s,
            "unit": self.unit, "energy_joule": self.energy_joule, "peak_memory_bytes": self.peak_memory_bytes,
            "usd_per_million": self.usd_per_million, "quality": self.quality, "error": [self.low_s, self.high_s],
            "bound": self.bound, "assumptions": list(self.assumptions), "metrics": dict(self.metrics),
            "breakdown_s": dict(self.breakdown_s), "memory_bytes": dict(self.memory_bytes),
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """What a search found: `reports`, best first by time; `pareto`: their indices that no other beats in every
    objective; num_evaluated, num_pruned: plans; binding_constraint: what rules the rest (or everything) out.
    """

    workload: str
    machine: str
    goal: str
    objectives: tuple[str, ...]
    reports: tuple[Report, ...]
    pareto: tuple[int, ...]
    num_evaluated: int
    num_pruned: int
    binding_constraint: str
