"""The plans that a search may choose from: allowed values per decision, narrowed by techniques."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from itertools import product
from typing import Any

import numpy as np

from aisys.errors import CannotApply, unknown_name
from aisys.frozen import FrozenMap
from aisys.ir import Graph
from aisys.machine import Machine
from aisys.plan.types import Plan, PlanTable

FIELDS = tuple(f.name for f in fields(Plan))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSpace:
    """choices: decision to the values it takes; a decision that is not named takes its usual values. possible: decision
    to the values that what runs the plan can be told.
    """

    choices: FrozenMap[str, tuple[Any, ...]] = field(default_factory=FrozenMap)
    possible: FrozenMap[str, tuple[Any, ...]] = field(default_factory=FrozenMap)

    def narrow(self, **allowed: Iterable[Any]) -> "PlanSpace":
        """This space with each named decision held to the given values. Raises CannotApply where none is left."""
        out = {**self.possible, **self.choices}
        for name, values in allowed.items():
            if name not in FIELDS:
                raise unknown_name("decision of a plan", name, FIELDS)
            wanted = tuple(values)
            left = tuple(v for v in wanted if v in out[name]) if name in out else wanted
            if not left:
                raise CannotApply(f"{name} cannot be one of {list(wanted)}: it is already held to {list(out[name])}")
            out[name] = left
        held = {name: values for name, values in out.items() if name in allowed or name in self.choices}
        return replace(self, choices=FrozenMap(held))

    def within(self, **possible: Iterable[Any]) -> "PlanSpace":
        """This space without other values of the named decisions. Raises CannotApply where one is held to another."""
        narrow = self.narrow(**{name: values for name, values in possible.items() if name in self.choices})
        return replace(narrow, possible=FrozenMap({name: tuple(values) for name, values in possible.items()}))

    def values(self, name: str, usual: tuple[Any, ...]) -> tuple[Any, ...]:
        """The values of a decision: those it is held to, or the usual ones among the possible, or all possible ones."""
        possible = self.possible.get(name, usual)
        return self.choices.get(name) or tuple(value for value in usual if value in possible) or possible


def powers_of_two(most: int) -> tuple[int, ...]:
    """1, 2, 4, ... up to `most`."""
    return tuple(2**i for i in range(most.bit_length()) if 2**i <= most)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadShape:
    """What the usual choices depend on: sequences of a step, tokens of each, layers between embedding and head, experts
    of a layer (1: dense), and whether attention scores are kept (attention that is not fused).
    """

    batch: int
    tokens: int
    num_layers: int
    num_experts: int = 1
    has_scores: bool = False


def workload_shape(graph: Graph) -> WorkloadShape:
    """The shape of a graph of token sequences. Raises CannotApply where it has no batch or token axis."""
    extents: dict[str, int] = {}
    for block in graph.blocks:
        for op in block.ops:
            extents.update(op.space)
    for axis in ("batch", "token"):
        if axis not in extents:
            raise CannotApply(
                f"graph {graph.name!r} has no axis {axis!r}; training and serving are planned for batches of token "
                "sequences, and image networks --for infer"
            )
    has_scores = any({"token", "key"} <= set(t.axes) for b in graph.blocks for t in b.tensors.values())
    return WorkloadShape(
        batch=extents["batch"], tokens=extents["token"], num_layers=len(graph.layers) - 2,
        num_experts=extents.get("expert", 1), has_scores=has_scores,
    )  # fmt: skip


def training_plans(space: PlanSpace, machine: Machine, shape: WorkloadShape) -> PlanTable:
    """Every plan of the space that uses all devices of `machine` and splits the batch evenly.

    Unless the space says otherwise: tensor groups stay inside one node and spread sequences too; sequences are spread
    over context groups down to 8,192 tokens; experts over data-parallel ranks; optimizer state is spread (ZeRO-1), or
    without a pipeline everything may be (ZeRO-3).
    """
    node = next(iter(machine.mesh.values()), 1)
    usual = {
        "tensor": powers_of_two(node), "pipeline": powers_of_two(min(machine.num_devices, shape.num_layers)),
        "context": powers_of_two(max(1, shape.tokens // 8192)), "expert": powers_of_two(shape.num_experts),
        "micro_batch": powers_of_two(min(16, shape.batch)),
        "recompute": ("none", *(("selective",) if shape.has_scores else ()), "op", "full"),
        "precision": ("bf16",), "schedule": ("1f1b",), "offload_optimizer": (False,),
    }  # fmt: skip
    allowed = {name: space.values(name, values) for name, values in usual.items()}
    rows: list[tuple[Any, ...]] = []
    for tensor, pipeline, context, expert, micro_batch in product(*(allowed[name] for name in _DEGREES)):
        data, rest = divmod(machine.num_devices, tensor * pipeline * context)
        if rest or not data or data % expert or data not in space.values("data", (data,)):
            continue
        num_microbatches, rest = divmod(shape.batch, data * micro_batch)
        if rest or not num_microbatches:
            continue
        may_gather = pipeline == 1 and data * context > 1
        others = (
            space.values("sequence_parallel", (tensor > 1,)),
            (1,) if pipeline == 1 else space.values("interleave", _chunks(shape, pipeline, num_microbatches)),
            (micro_batch,), (num_microbatches,),
            space.values("sharding", ("zero1", "zero3") if may_gather else ("zero1",)),
            allowed["recompute"], allowed["precision"], allowed["schedule"], allowed["offload_optimizer"],
            space.values("hardware", ("shared",)),
        )  # fmt: skip
        rows += [(tensor, pipeline, data, context, expert, *rest_of) for rest_of in product(*others)]
    columns = zip(*rows, strict=True) if rows else [[] for _ in FIELDS]
    return PlanTable(FrozenMap({name: np.array(column) for name, column in zip(FIELDS, columns, strict=True)}))


_DEGREES = ("tensor", "pipeline", "context", "expert", "micro_batch")


def _chunks(shape: WorkloadShape, pipeline: int, num_microbatches: int) -> tuple[int, ...]:
    """1, and the chunk counts up to 8 that divide the layers of a stage evenly, where the schedule allows chunks."""
    if num_microbatches % pipeline:
        return (1,)
    per_stage, rest = divmod(shape.num_layers, pipeline)
    return (1, *(v for v in range(2, min(8, per_stage) + 1) if not rest and per_stage % v == 0))
