"""What each pipeline stage of many plans does: from block costs to the durations that a schedule runs."""

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aisys.lower import memory
from aisys.lower.blocks import CATEGORIES
from aisys.lower.communication import Group, transfer_times
from aisys.lower.local import Priced, block_times, both
from aisys.lower.offload import offload_s
from aisys.lower.shares import Setting, Shares
from aisys.lower.tail import Windows, gradient_s, optimizer_s
from aisys.machine import Machine
from aisys.plan import Plan, PlanTable
from aisys.plan.groups import groups
from aisys.plan.stages import block_counts

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
PARTS = (*CATEGORIES, "weights", "host", "gradients", "optimizer", "bubble")
"""What a device spends its step on: kernels by kind, communication by mesh axis (`weights`: ZeRO-3 gathers)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Stages:
    """Plans of one pipeline shape, before their schedule runs.

    forward_s, backward_s, send_s: arrays [plans, virtual stages]. gradients_s, optimizer_s: [plans, stages].
    saved_bytes: [plans, virtual stages] per microbatch. memory_bytes: [plans, stages, memory.PARTS].
    breakdown_s: [plans, stages, PARTS] without the bubble. energy_joule: [plans], kernels of all devices.
    """

    plans: PlanTable
    forward_s: Floats
    backward_s: Floats
    send_s: Floats
    gradients_s: Floats
    optimizer_s: Floats
    saved_bytes: Floats
    memory_bytes: Floats
    breakdown_s: Floats
    energy_joule: Floats


def stages(setting: Setting, plans: PlanTable, shares: list[Shares]) -> Stages:
    """The stages of plans that share pipeline, interleave, num_microbatches and schedule."""
    return _Assembly(setting, plans, shares).stages()


@lru_cache(maxsize=65536)
def _groups(tensor: int, context: int, data: int, expert: int, pipeline: int, machine: Machine) -> dict[str, Group]:
    plan = Plan(tensor=tensor, context=context, data=data, expert=expert, pipeline=pipeline)
    return groups(plan, machine)


class _Assembly:
    """Arrays over plans (first axis) of one pipeline shape; each method adds one concern."""

    def __init__(self, setting: Setting, plans: PlanTable, shares: list[Shares]) -> None:
        self.setting, self.plans = setting, plans
        self.p, self.v, self.m = (int(plans[n][0]) for n in ("pipeline", "interleave", "num_microbatches"))
        self.counts = block_counts(setting.graph, self.p * self.v)
        distinct = list({id(s): s for s in shares}.values())
        place = {id(s): i for i, s in enumerate(distinct)}
        self.index = np.array([place[id(s)] for s in shares])
        self.distinct = distinct
        self.state = self._with_shared(self.of("state_bytes"), self.of("shared_bytes"))
        self.elements = self._with_shared(self.of("elements"), self.of("shared_elements"))
        names = ("tensor", "context", "data", "expert", "pipeline")
        columns = zip(*(plans[n].tolist() for n in names), strict=True)
        where = [_groups(*degrees, setting.machine) for degrees in columns]
        self.places = {axis: [g[axis] for g in where] for axis in where[0]}

    def _with_shared(self, held: Floats, shared: Floats) -> Floats:
        """Dense and expert amounts with those of shared weights: once per stage that holds a block which names them.

        held: [plans, blocks, ..., GROUPS]. shared: [plans, blocks, ...].
        """
        total = held.copy()
        later = shared.copy()
        if self.p == 1:
            first = (shared.reshape(*shared.shape[:2], -1).sum(-1) > 0).argmax(1)
            keep = np.arange(shared.shape[1])[None, :] == first[:, None]
            later *= keep.reshape(*keep.shape, *(1,) * (shared.ndim - 2))
        total[..., 0] += later
        return total

    def of(self, name: str) -> Floats:
        """One field of the shares, stacked: array [plans, blocks, ...]."""
        stacked: Floats = np.stack([getattr(s, name) for s in self.distinct])[self.index]
        return stacked

    def stages(self) -> Stages:
        framework = self.setting.framework
        times = block_times(Priced(**{f.name: self.of(f.name) for f in fields(Priced)}), framework)
        gather, scatter = self._weight_traffic()
        device = np.moveaxis(times.device_s, 2, 0)
        waits = np.stack([self._waits(device[0], gather), self._waits(device[1], gather + scatter)])
        on_device = self._sum(device + waits)
        on_host = self._sum(np.moveaxis(times.host_s, 2, 0))
        on_host[0] += float(framework.host_s_per_microbatch) / self.v
        sends = self._send_s()
        blocked = sends * (1.0 - float(framework.send_overlap))
        forward, backward = both(on_device, on_host, framework) + self._sent(blocked)
        gradients, optimizer = self._tail(forward, backward)
        memory_bytes = memory.device_bytes(
            self.plans, self.counts, self.state, self.of("saved_bytes"), self.of("working_bytes"),
            self.elements.sum(-1) * 2.0, framework,
        )  # fmt: skip
        host = forward + backward - on_device.sum(0)
        return Stages(
            plans=self.plans, forward_s=forward, backward_s=backward,
            send_s=np.repeat((sends - blocked)[:, None], self.p * self.v, 1),
            gradients_s=gradients, optimizer_s=optimizer, saved_bytes=self._sum(self.of("saved_bytes")),
            memory_bytes=memory_bytes,
            breakdown_s=self._breakdown(times.parts_s, waits.sum(0), host, (gradients, optimizer)),
            energy_joule=self._energy(),
        )  # fmt: skip

    def _sent(self, blocked: Floats) -> Floats:
        """What its sends hold up each virtual stage, forward and backward: array [2, plans, virtual stages]."""
        last = self.p * self.v - 1
        has_next = np.ones((2, 1, last + 1))
        has_next[0, :, last], has_next[1, :, 0] = 0.0, 0.0
        held: Floats = blocked[None, :, None] * has_next
        return held

    def _sum(self, per_block: Floats) -> Floats:
        """[..., plans, blocks] to [..., plans, virtual stages]."""
        summed: Floats = per_block @ self.counts.T.astype(np.float64)
        return summed

    def _per_stage(self, per_virtual: Floats) -> Floats:
        """[plans, virtual stages, ...] to [plans, stages, ...]."""
        shape = per_virtual.shape
        summed: Floats = per_virtual.reshape(shape[0], self.v, self.p, *shape[2:]).sum(1)
        return summed

    def _weight_traffic(self) -> tuple[Floats, Floats]:
        """ZeRO-3 without a pipeline: gather and reduce-scatter time of each block per microbatch, [plans, blocks]."""
        blocks = len(self.counts[0])
        gather, scatter = np.zeros((len(self.plans), blocks)), np.zeros((len(self.plans), blocks))
        rows = np.flatnonzero((memory.zero_level(self.plans) == 3) & (self.p == 1))
        if not len(rows):
            return gather, scatter
        elements, state = self.elements, self.state
        for group, axis in ((0, "model_state"), (1, "expert_data")):
            weights, grads = elements[rows, :, group] * 2.0, state[rows, :, 1, group]
            if not weights.any():
                continue
            where = [self.places[axis][r] for r in rows for _ in range(blocks)]
            machine = self.setting.machine
            for kind, size, total in (("all_gather", weights, gather), ("reduce_scatter", grads, scatter)):
                times = transfer_times([kind] * size.size, size.ravel(), where, machine)
                total[rows] += times.time_s.reshape(size.shape)
        return gather, scatter
        elements, state = self.elements, self.state
        for group, axis in ((0, "model_state"), (1, "expert_data")):
            weights, grads = elements[rows, :, group] * 2.0, state[rows, :, 1, group]
            if not weights.any():
                continue
            where = [self.places[axis][r] for r in rows for _ in range(blocks)]
            machine = self.setting.machine
            gather[rows] += transfer_times(
                ["all_gather"] * weights.size, weights.ravel(), where, machine
            ).time_s.reshape(weights.shape)
            scatter[rows] += transfer_times(
                ["reduce_scatter"] * grads.size, grads.ravel(), where, machine
            ).time_s.reshape(grads.shape)
        return gather, scatter

    def _waits(self, compute: Floats, communication: Floats) -> Floats:
        """What a block waits for its weights: what does not fit under compute, which it slows, [plans, blocks]."""
        framework = self.setting.framework
        hidden = np.minimum(communication * float(framework.gather_overlap), compute)
        return communication - hidden + hidden * (float(framework.slowdown) - 1.0)

    def _send_s(self) -> Floats:
        """A hand-over from stage to stage: where tensor ranks hold the same, each sends its part and they gather it.

        Source: Narayanan et al. 2021, section 4.1.
        """
        if self.p == 1:
            return np.zeros(len(self.plans))
        machine, number = self.setting.machine, len(self.plans)
        size = np.array([s.boundary_bytes for s in self.distinct])[self.index]
        copies = np.where(self.plans["sequence_parallel"], 1, self.plans["tensor"])
        sends = transfer_times(["send_recv"] * number, size / copies, self.places["pipeline"], machine).time_s
        whole = np.where(copies > 1, size, 0.0)
        gathers = transfer_times(["all_gather"] * number, whole, self.places["tensor"], machine).time_s
        return sends * float(self.setting.framework.send_factor) + gathers

    def _tail(self, forward: Floats, backward: Floats) -> tuple[Floats, Floats]:
        level = memory.zero_level(self.plans)
        state, elements = self.state, self.elements
        per_stage = self.counts.reshape(self.v, self.p, -1).sum(0).astype(np.float64)
        once = np.where((level == 3) & (self.p == 1), 0.0, 1.0)[:, None]
        sizes = {}
        for group, name in enumerate(("dense", "expert")):
            sizes[f"{name}.gradient"] = state[:, :, 1, group] @ per_stage.T * once
            sizes[f"{name}.weight"] = elements[:, :, group] * 2.0 @ per_stage.T * once
        windows = Windows(forward_s=self._per_stage(forward), backward_s=self._per_stage(backward))
        gradients = gradient_s(self.setting.machine, self.setting.framework, self.places, sizes, level >= 1, windows)
        gradients[:, [0, -1]] += self._tied_s()[:, None]
        local = np.einsum("gbrk,sb->gsrk", state, per_stage) / memory.state_ways(self.plans)[:, None, 2:3]
        read, written = local.sum((2, 3)) - local[:, :, 0].sum(-1), local.sum((2, 3)) - local[:, :, 1].sum(-1)
        touched = np.stack([read, written], axis=2)
        update = optimizer_s(self.setting.machine, self.setting.framework, touched, self.setting.tier)
        rows = np.flatnonzero(self.plans["offload_optimizer"])
        if len(rows):
            update[rows] = float(self.setting.framework.step_s) + offload_s(
                self.setting.machine, local[rows, :, 1].sum(-1), local[rows, :, 0].sum(-1), local[rows, :, 2].sum(-1)
            )
        return gradients, update

    def _tied_s(self) -> Floats:
        """Embeddings that the first and the last stage share: their gradients are added up between the two."""
        graph = self.setting.graph
        if self.p == 1 or not graph.shared:
            return np.zeros(len(self.plans))
        size = self.of("shared_bytes")[:, 0, 1]
        times = transfer_times(["send_recv"] * len(size), size, self.places["pipeline"], self.setting.machine)
        return 2.0 * times.time_s

    def _breakdown(self, parts: Floats, waits: Floats, host: Floats, tail: tuple[Floats, Floats]) -> Floats:
        out = np.zeros((len(self.plans), self.p, len(PARTS)))
        kinds = np.einsum("vb,gbc->gvc", self.counts, parts)
        out[:, :, : len(CATEGORIES)] = self._per_stage(kinds) * self.m
        out[:, :, PARTS.index("weights")] = self._per_stage(self._sum(waits)) * self.m
        out[:, :, PARTS.index("host")] = self._per_stage(host) * self.m
        out[:, :, PARTS.index("gradients")], out[:, :, PARTS.index("optimizer")] = tail
        return out

    def _energy(self) -> Floats:
        replicas = self.plans["tensor"] * self.plans["data"] * self.plans["context"]
        total: Floats = self._sum(self.of("energy_joule")).sum(1) * self.m * replicas
        return total
