"""What a step does once per step and not per microbatch: reduce gradients, gather weights, update them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aisys.cost import Tier, cost
from aisys.ir import OpTable
from aisys.lower.communication import Group, transfer_times
from aisys.lower.framework import Framework
from aisys.machine import Machine

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Windows:
    """Compute that once-per-step communication may run under: the first forward and the last backward of each stage.

    forward_s, backward_s: arrays [plans, stages].
    """

    forward_s: Floats
    backward_s: Floats


def exposed(communication_s: Floats, window_s: Floats, overlap: float) -> Floats:
    """What is left of a communication after `overlap` of it ran under a window of compute."""
    return communication_s - np.minimum(overlap * communication_s, window_s)


def gradient_s(
    machine: Machine, framework: Framework, places: dict[str, list[Group]], sizes: dict[str, Floats],
    is_sharded: NDArray[np.bool_], windows: Windows,
) -> Floats:  # fmt: skip
    """Exposed time to combine gradients, and under ZeRO to hand out the updated weights, array [plans, stages].

    sizes: gradient and weight bytes by group of ranks, `dense.gradient`, `dense.weight`, `expert.gradient`, ...:
    arrays [plans, stages]. is_sharded: whether the optimizer state is spread (reduce-scatter and all-gather) or
    every rank keeps all (all-reduce), array [plans].
    """
    shape = windows.forward_s.shape
    reduce_s, gather_s = np.zeros(shape), np.zeros(shape)
    sharded = np.repeat(is_sharded[:, None], shape[1], axis=1)
    for part, axis in (("dense", "model_state"), ("expert", "expert_data")):
        size = sizes[f"{part}.gradient"]
        if not size.any():
            continue
        where = [g for g in places[axis] for _ in range(shape[1])]
        kinds = np.where(sharded, "reduce_scatter", "all_reduce").ravel().tolist()
        reduce_s += transfer_times(kinds, size.ravel(), where, machine).time_s.reshape(shape)
        weights = np.where(sharded, sizes[f"{part}.weight"], 0.0)
        if weights.any():
            gathers = transfer_times(["all_gather"] * weights.size, weights.ravel(), where, machine)
            gather_s += gathers.time_s.reshape(shape)
    reduce_s, gather_s = reduce_s * float(framework.gradient_factor), gather_s * float(framework.gradient_factor)
    late = exposed(reduce_s, windows.backward_s, float(framework.gradient_overlap))
    return late + exposed(gather_s, windows.forward_s, float(framework.gather_overlap))


def optimizer_s(machine: Machine, framework: Framework, touched_bytes: Floats, tier: Tier) -> Floats:
    """Time to update the weights: every byte of gradients and state read, state and weights written once.

    touched_bytes: array [plans, stages, 2], read and written on one device.
    """
    flat = touched_bytes.reshape(-1, 2)
    distinct, index = np.unique(flat, axis=0, return_inverse=True)
    elements = np.maximum(1, (distinct[:, 1] / 14).astype(np.int64))
    table = OpTable.of(
        "stream", read_bytes=distinct[:, 0], write_bytes=distinct[:, 1], flop=12.0 * elements, rows=1, cols=elements,
        function="adam", dtype="fp32",
    )  # fmt: skip
    seconds: Floats = cost(table, machine.device, tier=tier).time_s[index.ravel()]
    return seconds.reshape(touched_bytes.shape[:2]) + float(framework.step_s)
