"""What a step does once per step and not per microbatch: reduce gradients, gather weights, update them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aisys.cost import Tier, cost
from aisys.ir import OpTable
from aisys.lower.communication import Places, distinct_rows, seconds
from aisys.lower.framework import Framework
from aisys.machine import Machine

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Windows:
    """Compute that once-per-step communication may run under, on each stage: arrays [plans, stages].

    forward_s: from the first forward to the first use of the last weights. backward_s: from the first finished
    gradient to the last one.
    """

    forward_s: Floats
    backward_s: Floats


def windows(forward_s: Floats, backward_s: Floats, interleave: int, held: Floats) -> Windows:
    """The windows of stages that take forward_s and backward_s [plans, stages] per microbatch over all their chunks.

    A chunk meets its weights first, and finishes its gradients, a whole group of `held` microbatches [plans] before
    the next chunk does; inside a chunk, layer follows layer.
    """
    share = (1.0 + held[:, None] * (interleave - 1)) / interleave
    return Windows(forward_s=forward_s * share, backward_s=backward_s * share)


def exposed(communication_s: Floats, window_s: Floats, overlap: float) -> Floats:
    """What is left of a communication after `overlap` of it ran under a window of compute."""
    left: Floats = communication_s - np.minimum(overlap * communication_s, window_s)
    return left


@dataclass(frozen=True, eq=False, kw_only=True)
class Traffic:
    """Bytes that each stage's device reduces and gathers per step, arrays [plans, stages], and among whom."""

    gradient_bytes: Floats
    weight_bytes: Floats
    where: Places


def gradient_s(
    machine: Machine, framework: Framework, traffic: list[Traffic], is_sharded: NDArray[np.bool_], under: Windows,
    library: str = "",
) -> Floats:  # fmt: skip
    """Exposed time to combine gradients, and under ZeRO to hand out the updated weights, array [plans, stages].

    traffic: of dense and of expert weights. is_sharded: whether the optimizer state is spread (reduce-scatter and
    all-gather) or every rank keeps all (all-reduce), array [plans].
    """
    kinds = np.where(is_sharded, "reduce_scatter", "all_reduce").tolist()
    reduce_s, gather_s = np.zeros(under.forward_s.shape), np.zeros(under.forward_s.shape)
    for part in traffic:
        reduce_s += seconds(kinds, part.gradient_bytes, part.where, machine, library)
        handed_out = np.where(is_sharded[:, None], part.weight_bytes, 0.0)
        gather_s += seconds("all_gather", handed_out, part.where, machine, library)
    reduce_s, gather_s = reduce_s * float(framework.gradient_factor), gather_s * float(framework.gradient_factor)
    late = exposed(reduce_s, under.backward_s, float(framework.gradient_overlap))
    return late + exposed(gather_s, under.forward_s, float(framework.gather_overlap))


def optimizer(
    machine: Machine, framework: Framework, touched_bytes: Floats, tier: Tier
) -> tuple[Floats, Floats]:  # fmt: skip
    """Seconds to update the weights, and joule beyond idling: every byte of gradients and state read, state and weights
    written once.

    touched_bytes: array [plans, stages, 2], read and written on one device.
    """
    flat = touched_bytes.reshape(-1, 2)
    distinct, index = distinct_rows(flat)
    elements = np.maximum(1, (distinct[:, 1] / 14).astype(np.int64))
    table = OpTable.of(
        "stream", read_bytes=distinct[:, 0], write_bytes=distinct[:, 1], flop=12.0 * elements, rows=1, cols=elements,
        function="adam", dtype="fp32",
    )  # fmt: skip
    priced = cost(table, machine.device, tier=tier)
    active = priced.energy_joule - float(machine.device.idle_watt) * priced.time_s
    taken, joule = (values[index].reshape(touched_bytes.shape[:2]) for values in (priced.time_s, active))
    return taken + float(framework.step_s), joule
