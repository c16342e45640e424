"""Device memory of a training step: model state under ZeRO, activations in flight, what backward works on."""

import numpy as np
from numpy.typing import NDArray

from aisys.lower.framework import Framework
from aisys.lower.pipeline import slots
from aisys.plan import PlanTable

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
PARTS = ("weight", "gradient", "optimizer_state", "kv_cache", "activations", "working", "reserved")
_LEVEL = {"none": 0, "zero1": 1, "zero2": 2, "zero3": 3}
_SHARDED_FROM = np.array([3, 2, 1, 4])  # ZeRO level from which weight, gradient, optimizer state, cache is spread


def zero_level(plans: PlanTable) -> Ints:
    """ZeRO stage of each plan, 0 to 3."""
    return np.array([_LEVEL[name] for name in plans["sharding"].tolist()], np.int64)


def state_ways(plans: PlanTable) -> Floats:
    """Over how many ranks ZeRO spreads each role of dense and expert state: array [plans, roles, groups].

    Source: Rajbhandari et al. 2020.
    """
    ranks = plans["data"] * plans["context"]
    ways = np.stack([ranks, np.maximum(1, ranks // plans["expert"])], axis=1).astype(np.float64)
    is_spread = zero_level(plans)[:, None] >= _SHARDED_FROM[None, :]
    return np.where(is_spread[:, :, None], ways[:, None, :], 1.0)


def in_flight(schedule: str, num_stages: int, num_microbatches: int, interleave: int) -> Ints:
    """Chunk activations that each stage holds at its peak, array [stages].

    1F1B holds stages - s; interleaved 1F1B its warm-up plus one, over all chunks (Narayanan et al. 2021); what
    another schedule holds is counted along its slots.
    """
    stage = np.arange(num_stages)
    total = num_microbatches * interleave
    if schedule == "gpipe":
        return np.full(num_stages, total)
    if schedule != "1f1b":
        is_backward = slots(schedule, num_stages, num_microbatches, interleave)[:, :, 0]
        held: Ints = np.cumsum(1 - 2 * is_backward, axis=1).max(axis=1)
        return held
    warmup = num_stages - stage - 1
    if interleave > 1:
        warmup = warmup * 2 + (interleave - 1) * num_stages
    return np.minimum(total, warmup + 1)


def device_bytes(
    plans: PlanTable, counts: Ints, state_bytes: Floats, saved_bytes: Floats, working_bytes: Floats, weights: Floats,
    framework: Framework,
) -> Floats:  # fmt: skip
    """Bytes by part on each stage's device: array [plans, stages, PARTS], for plans of one pipeline shape.

    counts: [virtual stages, blocks]. state_bytes: [plans, blocks, roles, groups] before ZeRO. saved_bytes,
    working_bytes: [plans, blocks] per microbatch. weights: [plans, blocks] 16-bit bytes of whole weights.
    """
    p, v = int(plans["pipeline"][0]), int(plans["interleave"][0])
    per_stage = counts.reshape(v, p, -1).sum(0)
    state = (state_bytes / state_ways(plans)[:, None]).sum(-1)
    state[:, :, 2] *= ~plans["offload_optimizer"].astype(bool)[:, None]
    out = np.zeros((len(plans), p, len(PARTS)))
    out[:, :, :4] = np.einsum("sb,gbr->gsr", per_stage, state)
    held = in_flight(str(plans["schedule"][0]), p, int(plans["num_microbatches"][0]), v)
    out[:, :, 4] = np.einsum("sb,gb->gs", per_stage, saved_bytes) * (held / v) * float(framework.activation_factor)
    present = per_stage[None] > 0
    out[:, :, 5] = np.where(present, working_bytes[:, None, :], 0.0).max(-1)
    whole = np.where(present, weights[:, None, :], 0.0).max(-1) * 2 if p == 1 else weights @ per_stage.T
    out[:, :, 5] += np.where(zero_level(plans)[:, None] == 3, whole, 0.0)
    out[:, :, 6] = float(framework.reserved_bytes)
    return out
