"""Device memory of a training step: model state under ZeRO, activations in flight, what backward works on."""

from dataclasses import dataclass

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


@dataclass(frozen=True, eq=False, kw_only=True)
class Held:
    """What one device holds of each block, arrays [plans, blocks, ...]: state_bytes [.., roles, groups] before ZeRO,
    saved_bytes of one microbatch, working_bytes beside them, elements of whole weights. has_master: whether the
    optimizer keeps weights of its own.
    """

    state_bytes: Floats
    saved_bytes: Floats
    working_bytes: Floats
    elements: Floats
    has_master: bool


def device_bytes(plans: PlanTable, counts: Ints, held: Held, framework: Framework) -> Floats:
    """Bytes by part on each stage's device: array [plans, stages, PARTS], for plans of one pipeline and interleave.

    counts: [virtual stages, blocks]. The allocator keeps `activation_factor` times what activations fill.
    """
    p, v = int(plans["pipeline"][0]), int(plans["interleave"][0])
    per_stage = counts.reshape(v, p, -1).sum(0)
    state = (held.state_bytes / state_ways(plans)[:, None]).sum(-1)
    state[:, :, 2] *= ~plans["offload_optimizer"].astype(bool)[:, None]
    out = np.zeros((len(plans), p, len(PARTS)))
    out[:, :, :4] = np.einsum("sb,gbr->gsr", per_stage, state)
    if held.has_master:  # gathered weights are made from the master's shard, which is all that is kept
        out[zero_level(plans) == 3, :, 0] = 0.0
    saved = np.einsum("sb,gb->gs", per_stage, held.saved_bytes) * (_in_flight_of(plans) / v)
    present = per_stage[None] > 0
    working = np.where(present, held.working_bytes[:, None, :], 0.0).max(-1)
    out[:, :, 4] = saved * float(framework.activation_factor)
    out[:, :, 5] = (working + _whole_bytes(plans, per_stage, held)) * float(framework.activation_factor)
    out[:, :, 6] = float(framework.reserved_bytes)
    return out


def _in_flight_of(plans: PlanTable) -> Ints:
    """`in_flight` of every plan, array [plans, stages]."""
    p, v = int(plans["pipeline"][0]), int(plans["interleave"][0])
    choices = list(zip(plans["schedule"].tolist(), plans["num_microbatches"].tolist(), strict=True))
    known = {choice: in_flight(choice[0], p, choice[1], v) for choice in set(choices)}
    return np.stack([known[choice] for choice in choices])


def _whole_bytes(plans: PlanTable, per_stage: Ints, held: Held) -> Floats:
    """Under ZeRO-3, weights that stand gathered in 16 bits and gradients that are not yet spread, [plans, stages].

    Without a pipeline: the block at work and the next one, and the gradients of one block in 16 bits and as they are
    reduced. With one, all weights of the stage stay gathered between microbatches, and its gradients add up whole.
    Source: Zhao et al. 2023 (FSDP); torchtitan's pipeline leaves weights gathered.
    """
    weights, gradients = held.elements * 2.0, held.state_bytes[:, :, 1].sum(-1)
    if int(plans["pipeline"][0]) == 1:
        present = per_stage[None] > 0
        whole = np.where(present, (2 * weights + weights + gradients)[:, None, :], 0.0).max(-1)
    else:
        whole = (weights + gradients) @ per_stage.T
    is_spread = zero_level(plans)[:, None] == 3
    return np.where(is_spread, whole, 0.0)
