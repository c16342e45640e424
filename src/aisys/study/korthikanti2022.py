"""Activation and state memory of four GPT models under tensor, sequence and pipeline parallelism and recompute.

Published: Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models", figures 1 and 7:
analytic values of the paper, for layers alone. The state of our embedding is taken off before comparing; what
embedding and head keep for backward is not, and the paper leaves out norms and biases: the tolerance is 3 %.
Nothing is calibrated.
"""

from dataclasses import dataclass

from aisys.lower import memory
from aisys.machine.load import machine
from aisys.plan import Plan, PlanTable
from aisys.search import evaluate_many
from aisys.study.outcome import Outcome, Row
from aisys.technique.eager_attention import EagerAttention
from aisys.technique.training_step import TrainingStep
from aisys.units import GiB
from aisys.workload import read

TOLERANCE = 0.03
STATE_BYTES = 18
"""Per parameter: 2 of the weight, 4 of its gradient, 12 of fp32 master and moments (Korthikanti et al. 2022)."""

SOURCE = "Korthikanti et al. 2022, arXiv 2205.05198, figures 1 and 7 (analytic)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One model of the paper: its plan, GiB per device, and activations in percent of tensor parallelism alone."""

    pipeline: int
    interleave: int
    micro_batch: int
    num_microbatches: int
    state_gib: float
    activations_gib: float
    lean_gib: float
    sequence_percent: float
    selective_percent: float
    both_percent: float


MODELS = {
    "megatron-22b": Published(
        pipeline=1, interleave=1, micro_batch=4, num_microbatches=1, state_gib=45.5625, activations_gib=59.25,
        lean_gib=9.5625, sequence_percent=66.84, selective_percent=49.42, both_percent=16.18,
    ),
    "gpt3-175b": Published(
        pipeline=8, interleave=3, micro_batch=1, num_microbatches=64, state_gib=45.5625, activations_gib=66.84375,
        lean_gib=12.3515625, sequence_percent=62.04, selective_percent=56.53, both_percent=18.49,
    ),
    "turing-530b": Published(
        pipeline=35, interleave=3, micro_batch=1, num_microbatches=280, state_gib=31.640625,
        activations_gib=114.0234375, lean_gib=23.076171875, sequence_percent=58.31, selective_percent=62.04,
        both_percent=20.27,
    ),
    "megatron-1t": Published(
        pipeline=64, interleave=1, micro_batch=1, num_microbatches=512, state_gib=32.958984375,
        activations_gib=131.25, lean_gib=26.5625, sequence_percent=58.31, selective_percent=62.04, both_percent=20.27,
    ),
}  # fmt: skip


def run() -> Outcome:
    """Four models, six quantities each."""
    rows = [row for name, published in MODELS.items() for row in _rows(name, published)]
    return Outcome(name="korthikanti2022", source=SOURCE, rows=tuple(rows))


def _rows(name: str, published: Published) -> list[Row]:
    activations, state = _memory(name, published)
    whole = activations["none", False]
    named = {
        "activations, no recompute, tensor alone (GiB)": (whole / GiB, published.activations_gib, TOLERANCE),
        "activations, selective, sequence parallel (GiB)": (
            activations["selective", True] / GiB, published.lean_gib, TOLERANCE,
        ),
        "sequence parallel (% of tensor alone)": (
            100 * activations["none", True] / whole, published.sequence_percent, TOLERANCE,
        ),
        "selective (%)": (100 * activations["selective", False] / whole, published.selective_percent, TOLERANCE),
        "both (%)": (100 * activations["selective", True] / whole, published.both_percent, TOLERANCE),
        "parameters, gradients and optimizer (GiB)": (state / GiB, published.state_gib, TOLERANCE),
    }  # fmt: skip
    return [
        Row(quantity=f"{name}: {what}", ours=ours, published=value, tolerance=tolerance)
        for what, (ours, value, tolerance) in named.items()
    ]


def _memory(name: str, published: Published) -> tuple[dict[tuple[str, bool], float], float]:
    """Activation bytes by (recompute, sequence parallel), and state bytes, of the fullest stage's device."""
    asked = [(mode, is_spread) for mode in ("none", "selective") for is_spread in (False, True)]
    plans = PlanTable.of(
        Plan(
            tensor=8, pipeline=published.pipeline, interleave=published.interleave, micro_batch=published.micro_batch,
            num_microbatches=published.num_microbatches, recompute=mode, sequence_parallel=is_spread, precision="fp16",
        )
        for mode, is_spread in asked
    )  # fmt: skip
    graph = read(name, batch=published.micro_batch * published.num_microbatches, tokens=2048)
    steps = evaluate_many(
        graph, machine(f"dgx-a100*{published.pipeline}"), plans, techniques=[EagerAttention(), TrainingStep()]
    )
    part = {what: steps.memory_bytes[:, i] for i, what in enumerate(memory.PARTS)}
    state = part["weight"] + part["gradient"] + part["optimizer_state"]
    embedding = sum(t.num_elements / (8 if "vocab" in t.axes else 1) for t in graph.blocks[0].tensors_of("weight"))
    layers = float(state[0]) - STATE_BYTES * embedding
    return dict(zip(asked, part["activations"].tolist(), strict=True)), layers
