"""What one device does with each block under one sharding, priced once and kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aisys.cost import Tier
from aisys.cost.gpu.stack import with_constants
from aisys.errors import AisysError
from aisys.frozen import FrozenMap
from aisys.ir import Block, Graph
from aisys.lower.blocks import BlockCosts, BlockWork, price
from aisys.lower.communication import LIMIT
from aisys.lower.framework import Framework
from aisys.machine import Gpu, Machine
from aisys.plan import Degrees, Plan, PlanTable, ShardedBlock, Transfer, shard
from aisys.plan.groups import groups
from aisys.technique.eager_loss import EagerLoss
from aisys.technique.number_format import NumberFormat
from aisys.technique.recompute import Recompute
from aisys.units import Sourced

Floats = NDArray[np.float64]
ROLES = ("weight", "gradient", "optimizer_state", "kv_cache")
GROUPS = ("dense", "expert")
DIRECTIONS = ("forward", "backward")
"""backward: recomputation and both kinds of gradients."""
SHARD_FIELDS = ("precision", "recompute", "tensor", "sequence_parallel", "context", "expert", "micro_batch")
"""The decisions that change what one device computes per microbatch."""


class Habits(NamedTuple):
    """What a framework makes of a graph: the loss as separate kernels, layers that are rerun to their end where all
    is recomputed, experts as matmuls of their own."""

    has_eager_loss: bool = False
    reruns_layers: bool = False
    has_separate_experts: bool = False


_NO_HABITS = Habits()


@dataclass(frozen=True, eq=False, kw_only=True)
class Setting:
    """What stays fixed while plans vary: the training graph, the machine, the framework, the tier of cost models."""

    graph: Graph
    machine: Machine
    framework: Framework
    tier: Tier = "analytic"

    @property
    def used(self) -> Framework:
        """The framework as the tier sees it: the data-sheet tier knows none of its losses."""
        return self.framework.without_losses() if self.tier == "limit" else self.framework

    @property
    def outer_library(self) -> str:
        """The collective library of transfers between layers and stages; "" is the usual one."""
        return LIMIT if self.tier == "limit" else ""

    @property
    def trains(self) -> bool:
        """Whether the graph goes backward too."""
        return any(block.saved for block in self.graph.blocks)

    @property
    def fabric(self) -> Machine:
        """The machine as its kernels run in this graph: one that trains casts to fp8 by ops of its own."""
        return _casting_apart(self.machine) if self.trains else self.machine

    def variant(self, precision: str, recompute: str) -> Graph:
        """The graph in a plan's number format, with its recomputation, in the framework's kernels."""
        habits = (self.used.unfused_loss, self.used.whole_recompute, self.used.separate_experts)
        return variant(self.graph, precision, recompute, Habits(*(bool(habit) for habit in habits)))

    @property
    def library(self) -> str:
        """The collective library inside layers: the framework's, where the innermost link has constants for it."""
        inner = next(iter(self.machine.links.values()), None)
        if self.tier == "limit":
            return LIMIT
        name = self.framework.collectives
        known = inner is not None and any(key.startswith(f"{name}.") for key in inner.constants)
        return name if known else ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Shares:
    """One choice of SHARD_FIELDS on one device: arrays over the graph's distinct blocks, one microbatch.

    time_s: [blocks, DIRECTIONS, CATEGORIES]. fp8_s: [blocks, DIRECTIONS, 2]. hideable_s, num_kernels, num_transfers:
    [blocks, DIRECTIONS]. All as in BlockCosts. energy_joule, low_s, high_s, saved_bytes, working_bytes: [blocks].
    elements: [blocks, GROUPS] weights. state_bytes: [blocks, ROLES, GROUPS] before ZeRO. shared_elements,
    shared_bytes: [blocks], [blocks, ROLES] of weights that several blocks name. once_bytes: [blocks], gradients that
    tensor ranks sum once per step. boundary_bytes: what one stage hands to the next.
    """

    time_s: Floats
    fp8_s: Floats
    hideable_s: Floats
    num_kernels: Floats
    num_transfers: Floats
    energy_joule: Floats
    low_s: Floats
    high_s: Floats
    saved_bytes: Floats
    working_bytes: Floats
    elements: Floats
    state_bytes: Floats
    shared_elements: Floats
    shared_bytes: Floats
    once_bytes: Floats
    boundary_bytes: float
    keys: frozenset[str]


@dataclass(frozen=True, eq=False, kw_only=True)
class Stacked:
    """The fields of many Shares side by side, with a leading axis of `number` entries; zeros where one cannot be."""

    number: int
    fields: Mapping[str, Floats]

    @classmethod
    def of(cls, known: Sequence[Shares | str]) -> "Stacked":
        """Shares, or why they cannot be, in order."""
        first = next((share for share in known if isinstance(share, Shares)), None)
        if first is None:
            return cls(number=len(known), fields={})
        names = [field.name for field in fields(Shares) if field.name != "keys"]
        nothing = {name: np.zeros_like(np.asarray(getattr(first, name), np.float64)) for name in names}
        columns = {
            name: np.stack([nothing[name] if isinstance(share, str) else getattr(share, name) for share in known])
            for name in names
        }
        return cls(number=len(known), fields=columns)


class Shop:
    """Prices blocks for one Setting and keeps what it has priced; a sharding that cannot be keeps its reason."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self._index: dict[tuple[Any, ...], int] = {}
        self.known: list[Shares | str] = []
        self._stacked: Stacked | None = None

    def under(self, other: Framework) -> "Shop":
        """The same prices assembled by another framework, which uses the same collective library."""
        shop = Shop(replace(self.setting, framework=other))
        assert shop.setting.library == self.setting.library, "prices hold for one collective library"
        shop._index, shop.known = self._index, self.known
        return shop

    @property
    def stacked(self) -> Stacked:
        """All that is known, side by side."""
        if self._stacked is None or self._stacked.number != len(self.known):
            self._stacked = Stacked.of(self.known)
        return self._stacked

    def indices(self, plans: PlanTable) -> NDArray[np.int64]:
        """For every plan, the place in `known` of its shares, or of the sentence that says why it cannot be."""
        keys = list(zip(*(plans[name].tolist() for name in SHARD_FIELDS), strict=True))
        missing = [key for key in dict.fromkeys(keys) if key not in self._index]
        if missing:
            self._price(missing)
        return np.array([self._index[key] for key in keys], np.int64)

    def _price(self, keys: Sequence[tuple[Any, ...]]) -> None:
        """Price all of `keys` in one go; nothing is kept unless all of it succeeds."""
        found: dict[tuple[Any, ...], Shares | str] = {}
        jobs: dict[tuple[Any, ...], tuple[tuple[ShardedBlock, ...], list[BlockWork]]] = {}
        for key in keys:
            try:
                jobs[key] = self._shard(dict(zip(SHARD_FIELDS, key, strict=True)))
            except AisysError as error:
                found[key] = str(error)
        works = [work for _, block_works in jobs.values() for work in block_works]
        if works:
            costs = price(works, self.setting.fabric, self.setting.tier, self.setting.library)
            start = 0
            for key, (sharded, block_works) in jobs.items():
                found[key] = _shares(sharded, costs, slice(start, start + len(block_works)))
                start += len(block_works)
        for key, share in found.items():
            self._index[key] = len(self.known)
            self.known.append(share)

    def _shard(self, choice: Mapping[str, Any]) -> tuple[tuple[ShardedBlock, ...], list[BlockWork]]:
        graph = self.setting.variant(choice["precision"], choice["recompute"])
        degrees = Degrees(**{name: choice[name] for name in SHARD_FIELDS[2:]})
        plan = Plan(tensor=degrees.tensor, context=degrees.context, data=degrees.expert, expert=degrees.expert)
        where = groups(plan, self.setting.machine)
        blocks: tuple[Block, ...] = graph.blocks
        sharded = tuple(shard(block, degrees, graph.shared) for block in blocks)
        pairs = zip(sharded, blocks, strict=True)
        return sharded, [BlockWork(block=s, tensors=b.tensors, groups=where) for s, b in pairs]


@lru_cache(maxsize=64)
def _casting_apart(machine: Machine) -> Machine:
    """The machine with fp8 matmuls that find their operands in fp8 and start like those in 16 bits."""
    gpu = machine.device.architecture
    if not isinstance(gpu, Gpu) or "matmul.fp8.quantise_bytes" not in gpu.constants:
        return machine
    source = "technique/number_format.py: casts of a training step are ops of their own"
    apart = {
        "matmul.fp8.quantise_bytes": Sourced(0.0, source=source, kind="assumed", key="matmul.fp8.quantise_bytes"),
        "matmul.fp8.launch_s": gpu.constant("matmul.bf16.launch_s", "matmul.launch_s"),
    }
    return replace(machine, device=with_constants(machine.device, apart))


@lru_cache(maxsize=64)
def variant(graph: Graph, precision: str, recompute: str, habits: Habits = _NO_HABITS) -> Graph:
    """A training graph with the number format and recomputation of a plan; a forward graph as it is."""
    if not any(block.saved for block in graph.blocks):
        return graph
    if habits.has_separate_experts:
        graph = graph.map_blocks({block: _with_separate_experts(block) for block in graph.blocks})
    if habits.has_eager_loss and any(op.kind == "cross_entropy" for block in graph.blocks for op in block.ops):
        graph = EagerLoss().apply(graph)
    again = Recompute(mode=recompute, stops_early=not habits.reruns_layers)
    return again.apply(NumberFormat(precision=precision).apply(graph))


def _with_separate_experts(block: Block) -> Block:
    separate = [
        replace(op, options=FrozenMap({**op.options, "is_separate": True})) if op.kind == "grouped_matmul" else op
        for op in block.ops
    ]
    return replace(block, ops=tuple(separate))


def _shares(sharded: Sequence[ShardedBlock], costs: BlockCosts, rows: slice) -> Shares:
    def directions(name: str) -> Floats:
        values: Floats = getattr(costs, name)[rows]
        return np.stack([values[:, 0], values[:, 1:].sum(1)], axis=1)

    state = [[[b.state_bytes.get((role, group), 0.0) for group in GROUPS] for role in ROLES] for b in sharded]
    shared = [[b.state_bytes.get((role, "shared"), 0.0) for role in ROLES] for b in sharded]
    elements = [[float(b.elements[group]) for group in (*GROUPS, "shared")] for b in sharded]
    once = [sum(s.num_bytes for s in b.steps if isinstance(s, Transfer) and s.phase == "optimizer") for b in sharded]
    return Shares(
        time_s=directions("time_s"), fp8_s=directions("fp8_s"), hideable_s=directions("hideable_s"),
        num_kernels=directions("num_kernels"), num_transfers=directions("num_transfers"),
        energy_joule=costs.energy_joule[rows], low_s=costs.low_s[rows], high_s=costs.high_s[rows],
        saved_bytes=np.array([b.saved_bytes for b in sharded]),
        working_bytes=np.array([b.working_bytes for b in sharded]),
        elements=np.array(elements)[:, :2], shared_elements=np.array(elements)[:, 2], shared_bytes=np.array(shared),
        once_bytes=np.array(once),
        state_bytes=np.array(state), boundary_bytes=max(b.boundary_bytes for b in sharded[:-1]), keys=costs.keys,
    )  # fmt: skip
