"""What each pipeline stage of many plans does: from block costs to the durations that a schedule runs."""

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aisys.ir import Graph
from aisys.lower import memory
from aisys.lower.blocks import CATEGORIES, COMPUTE
from aisys.lower.communication import places, seconds
from aisys.lower.local import Priced, block_times, both, slowest
from aisys.lower.offload import offload_s
from aisys.lower.shares import Setting, Stacked
from aisys.lower.tail import Traffic, gradient_s, optimizer, windows
from aisys.plan import PlanTable
from aisys.plan.stages import block_counts

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
PARTS = (*CATEGORIES, "weights", "host", "gradients", "optimizer", "bubble")
"""What a device spends its step on: kernels by kind, communication by mesh axis (`weights`: ZeRO-3 gathers)."""
_AXES = ("model_state", "expert_data")
"""The ranks that share dense and expert weights."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Stages:
    """Plans of one number of stages and chunks, before their schedule runs.

    forward_s, backward_s, send_s: arrays [plans, virtual stages]. gradients_s, optimizer_s: [plans, stages].
    saved_bytes: [plans, virtual stages] per microbatch. memory_bytes: [plans, stages, memory.PARTS].
    breakdown_s: [plans, stages, PARTS] without the bubble. active_joule: [plans], what the kernels of all devices take
    beyond idling.
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
    active_joule: Floats


def stages(setting: Setting, plans: PlanTable, shares: Stacked, index: Ints) -> Stages:
    """The stages of plans that share pipeline and interleave; `index`: the entry of `shares` of each plan."""
    return _Assembly(setting, plans, shares, index).stages()


@lru_cache(maxsize=256)
def _has_master(graph: Graph) -> bool:
    """Whether the optimizer of a training graph keeps weights of its own."""
    return any(t.name.startswith("master.") for block in graph.blocks for t in block.tensors_of("optimizer_state"))


class _Assembly:
    """Arrays over plans (first axis) of one pipeline shape; each method adds one concern."""

    def __init__(self, setting: Setting, plans: PlanTable, shares: Stacked, index: Ints) -> None:
        self.setting, self.plans = setting, plans
        self.p, self.v = int(plans["pipeline"][0]), int(plans["interleave"][0])
        self.m = plans["num_microbatches"].astype(np.float64)
        self.counts = block_counts(setting.graph, self.p * self.v)
        self.per_stage = self.counts.reshape(self.v, self.p, -1).sum(0).astype(np.float64)
        self.shares, self.index = shares, index
        self.state = self._with_shared(self.of("state_bytes"), self.of("shared_bytes"))
        self.elements = self._with_shared(self.of("elements"), self.of("shared_elements"))
        self.level = memory.zero_level(plans)
        self.where = places(plans, setting.machine)
        self.library = setting.outer_library

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
        """One field of the shares: array [plans, blocks, ...]."""
        return self.shares.fields[name][self.index]

    def stages(self) -> Stages:
        framework = self.setting.used
        times = block_times(Priced(**{f.name: self.of(f.name) for f in fields(Priced)}), framework)
        pace = slowest(self.plans, framework)
        gather, scatter = self._weight_traffic()
        device = np.moveaxis(times.device_s, 2, 0) * pace[None, :, None]
        waits = np.stack([self._waits(device[0], gather), self._waits(device[1], gather + scatter)])
        on_device = self._sum(device + waits)
        on_host = self._sum(np.moveaxis(times.host_s, 2, 0))
        on_host[0] += float(framework.host_s_per_microbatch) / self.v
        sends = self._send_s()
        tensor = self.plans["tensor"].astype(np.float64)
        blocked = sends * (1.0 - float(framework.send_overlap))
        forward, backward = both(on_device, on_host, tensor, framework) + self._sent(blocked)
        gradients, (update, update_joule) = self._gradients(forward, backward), self._optimizer()
        held = memory.Held(
            state_bytes=self.state, saved_bytes=self.of("saved_bytes"), working_bytes=self.of("working_bytes"),
            elements=self.elements.sum(-1), has_master=_has_master(self.setting.graph),
        )  # fmt: skip
        host = forward + backward - on_device.sum(0)
        parts = times.parts_s * pace[:, None, None]
        return Stages(
            plans=self.plans, forward_s=forward, backward_s=backward,
            send_s=np.repeat((sends - blocked)[:, None], self.p * self.v, 1),
            gradients_s=gradients, optimizer_s=update, saved_bytes=self._sum(held.saved_bytes),
            memory_bytes=memory.device_bytes(self.plans, self.counts, held, framework),
            breakdown_s=self._breakdown(parts, waits.sum(0), host, (gradients, update)),
            active_joule=self._active_joule(update_joule),
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

    def _chunks(self, per_virtual: Floats) -> Floats:
        """[plans, virtual stages] to [plans, stages]: the chunks of a stage together."""
        summed: Floats = per_virtual.reshape(len(per_virtual), self.v, self.p).sum(1)
        return summed

    def _weight_traffic(self) -> tuple[Floats, Floats]:
        """ZeRO-3 without a pipeline: gather and reduce-scatter time of each block per microbatch, [plans, blocks]."""
        gather, scatter = np.zeros(self.elements.shape[:2]), np.zeros(self.elements.shape[:2])
        rows = np.flatnonzero((self.level == 3) & (self.p == 1))
        if not len(rows):
            return gather, scatter
        machine = self.setting.machine
        for group, axis in enumerate(_AXES):
            elements, where = self.elements[rows, :, group], self.where[axis].take(rows)
            gather[rows] += seconds("all_gather", elements * 2.0, where, machine, self.library)
            scatter[rows] += seconds("reduce_scatter", elements * self._reduced_bytes, where, machine, self.library)
        return gather, scatter

    @property
    def _reduced_bytes(self) -> float:
        return float(self.setting.used.reduced_bytes_per_element)

    def _waits(self, compute: Floats, communication: Floats) -> Floats:
        """What a block waits for its weights: what does not fit under compute, which it slows, [plans, blocks]."""
        framework = self.setting.used
        hidden = np.minimum(communication * float(framework.gather_overlap), compute)
        waited: Floats = communication - hidden + hidden * (float(framework.slowdown) - 1.0)
        return waited

    def _send_s(self) -> Floats:
        """A hand-over from stage to stage: where tensor ranks hold the same, each sends its part and they gather it.

        Source: Narayanan et al. 2021, section 4.1.
        """
        if self.p == 1:
            return np.zeros(len(self.plans))
        machine = self.setting.machine
        size = self.of("boundary_bytes")
        copies = np.where(self.plans["sequence_parallel"], 1, self.plans["tensor"])
        sends = seconds("send_recv", size / copies, self.where["pipeline"], machine, self.library)
        gathers = seconds("all_gather", np.where(copies > 1, size, 0.0), self.where["tensor"], machine, self.library)
        total: Floats = sends * float(self.setting.used.send_factor) + gathers
        return total

    def _gradients(self, forward: Floats, backward: Floats) -> Floats:
        """Exposed reduction of gradients and handing out of weights, once per step: array [plans, stages]."""
        is_late = np.where((self.level == 3) & (self.p == 1), 0.0, 1.0)[:, None]
        kinds, which = np.unique(self.per_stage, axis=0, return_inverse=True)
        which = which.ravel()
        traffic = []
        for group, axis in enumerate(_AXES):
            elements = self.elements[:, :, group] @ kinds.T * is_late
            if elements.any():
                traffic.append(
                    Traffic(gradient_bytes=elements * self._reduced_bytes, weight_bytes=elements * 2.0,
                            where=self.where[axis])
                )  # fmt: skip
        held = np.minimum(self.p, self.m)
        first = np.array([int(np.flatnonzero(which == kind)[0]) for kind in range(len(kinds))])
        times = [self._chunks(per_virtual)[:, first] for per_virtual in (forward, backward)]
        under = windows(times[0], times[1], self.v, held)
        is_sharded = self.level >= 1
        late = gradient_s(self.setting.machine, self.setting.used, traffic, is_sharded, under, self.library)
        exposed = late[:, which]
        exposed[:, [0, -1]] += self._tied_s()[:, None]
        return exposed + self._replicated_s()

    def _replicated_s(self) -> Floats:
        """Gradients of which each tensor rank has a part: one all-reduce of all of a stage's, array [plans, stages]."""
        size: Floats = self.of("once_bytes") @ self.per_stage.T
        return seconds("all_reduce", size, self.where["tensor"], self.setting.machine, self.library)

    def _optimizer(self) -> tuple[Floats, Floats]:
        """The update of the weights: seconds, and joule of one device beyond idling, arrays [plans, stages]. What a
        host's update takes beyond idling is not known."""
        setting = self.setting
        local = np.einsum("gbrk,sb->gsrk", self.state, self.per_stage) / memory.state_ways(self.plans)[:, None, 2:3]
        read, written = local.sum((2, 3)) - local[:, :, 0].sum(-1), local.sum((2, 3)) - local[:, :, 1].sum(-1)
        update, joule = optimizer(setting.machine, setting.used, np.stack([read, written], axis=2), setting.tier)
        rows = np.flatnonzero(self.plans["offload_optimizer"])
        if len(rows):
            update[rows] = float(setting.used.step_s) + offload_s(
                setting.machine, local[rows, :, 1].sum(-1), local[rows, :, 0].sum(-1), local[rows, :, 2].sum(-1)
            )
            joule[rows] = 0.0
        return update, joule

    def _tied_s(self) -> Floats:
        """Embeddings that the first and the last stage share: their gradients are added up between the two, which moves
        each byte once either way."""
        if self.p == 1 or not self.setting.graph.shared:
            return np.zeros(len(self.plans))
        size = self.of("shared_elements")[:, 0] * self._reduced_bytes
        return seconds("send_recv", size, self.where["pipeline"], self.setting.machine, self.library)

    def _breakdown(self, parts: Floats, waits: Floats, host: Floats, tail: tuple[Floats, Floats]) -> Floats:
        out = np.zeros((len(self.plans), self.p, len(PARTS)))
        m = self.m[:, None]
        out[:, :, : len(CATEGORIES)] = np.einsum("sb,gbc->gsc", self.per_stage, parts) * m[:, :, None]
        out[:, :, PARTS.index("weights")] = waits @ self.per_stage.T * m
        out[:, :, PARTS.index("host")] = self._chunks(host) * m
        out[:, :, PARTS.index("gradients")], out[:, :, PARTS.index("optimizer")] = tail
        return out

    def _active_joule(self, update_joule: Floats) -> Floats:
        replicas = self.plans["tensor"] * self.plans["data"] * self.plans["context"]
        kernels_s = self.of("time_s")[..., : len(COMPUTE)].sum((-2, -1))
        active = self.of("energy_joule") - float(self.setting.machine.device.idle_watt) * kernels_s
        total: Floats = (active @ self.per_stage.sum(0) * self.m + update_joule.sum(1)) * replicas
        return total
