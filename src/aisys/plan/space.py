"""The plans that a search may choose from: allowed values per decision, narrowed by techniques."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from itertools import product
from typing import Any

import numpy as np

from aisys.errors import CannotApply, unknown_name
from aisys.frozen import FrozenMap
from aisys.machine import Machine
from aisys.plan.types import Plan, PlanTable

FIELDS = tuple(f.name for f in fields(Plan))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSpace:
    """`choices`: decision to the values it may take; a decision that is not named takes its usual values."""

    choices: FrozenMap[str, tuple[Any, ...]] = field(default_factory=FrozenMap)

    def narrow(self, **allowed: Iterable[Any]) -> "PlanSpace":
        """This space with each named decision held to the given values. Raises CannotApply where none is left."""
        out = dict(self.choices)
        for name, values in allowed.items():
            if name not in FIELDS:
                raise unknown_name("decision of a plan", name, FIELDS)
            wanted = tuple(values)
            left = tuple(v for v in wanted if v in out[name]) if name in out else wanted
            if not left:
                raise CannotApply(f"{name} cannot be one of {list(wanted)}: it is already held to {list(out[name])}")
            out[name] = left
        return PlanSpace(choices=FrozenMap(out))


def powers_of_two(most: int) -> tuple[int, ...]:
    """1, 2, 4, ... up to `most`."""
    return tuple(2**i for i in range(most.bit_length()) if 2**i <= most)


def training_plans(space: PlanSpace, machine: Machine, global_batch: int, num_layers: int) -> PlanTable:
    """Every plan of the space that uses all devices of `machine` and splits `global_batch` sequences evenly.

    Tensor groups stay inside one node; sequence parallelism goes with tensor parallelism; optimizer state is spread
    (ZeRO-1) or everything is (ZeRO-3) unless the space says otherwise.
    """
    node = next(iter(machine.mesh.values()), 1)
    devices = machine.num_devices

    def allowed(name: str, usual: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(space.choices.get(name, usual))

    degrees = product(
        allowed("tensor", powers_of_two(node)), allowed("pipeline", powers_of_two(min(devices, num_layers))),
        allowed("context", (1,)), allowed("expert", (1,)), allowed("micro_batch", powers_of_two(min(16, global_batch))),
    )  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    for tensor, pipeline, context, expert, micro_batch in degrees:
        data, rest = divmod(devices, tensor * pipeline * context)
        if (
            rest
            or data < 1
            or data % expert
            or global_batch % (data * micro_batch)
            or data not in allowed("data", (data,))
        ):
            continue
        num_microbatches = global_batch // (data * micro_batch)
        chunks = (1,) if pipeline == 1 else allowed("interleave", _chunks(num_layers, pipeline, num_microbatches))
        rows += [
            (tensor, pipeline, data, context, expert, is_sequence, v, micro_batch, num_microbatches, *rest_of)
            for is_sequence in allowed("sequence_parallel", (tensor > 1,))
            for v in chunks
            for rest_of in product(
                allowed("sharding", ("zero1", "zero3") if pipeline == 1 and data * context > 1 else ("zero1",)),
                allowed("recompute", ("none", "selective", "op", "full")), allowed("precision", ("bf16",)),
                allowed("schedule", ("1f1b",)), allowed("offload_optimizer", (False,)),
            )
        ]  # fmt: skip
    columns = zip(*rows, strict=True) if rows else [[] for _ in FIELDS]
    return PlanTable(FrozenMap({name: np.array(column) for name, column in zip(FIELDS, columns, strict=True)}))


def _chunks(num_layers: int, pipeline: int, num_microbatches: int) -> tuple[int, ...]:
    """1, and the chunk counts up to 8 that divide the layers of a stage evenly, where the schedule allows chunks."""
    if num_microbatches % pipeline:
        return (1,)
    per_stage, rest = divmod(num_layers, pipeline)
    return (1, *(v for v in range(2, min(8, per_stage) + 1) if not rest and per_stage % v == 0))
