"""A whole graph on one device, kernel by kernel, in program order and without what a framework adds."""

from dataclasses import dataclass

import numpy as np

from aisys.cost.types import CostTable, Tier, cost
from aisys.ir import Graph, kernels, tables
from aisys.machine import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCost:
    """One kernel of one block, which runs `repeat` times; ops: the names of what it computes."""

    block: str
    ops: tuple[str, ...]
    kind: str
    repeat: int
    time_s: float
    energy_joule: float
    counts: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphCost:
    """Sums over all kernels and repetitions."""

    time_s: float
    energy_joule: float
    kernels: tuple[KernelCost, ...]


def graph_cost(graph: Graph, device: Device, *, tier: Tier = "analytic") -> GraphCost:
    """Time and energy of every kernel of `graph` on `device`, one after the other. Raises Unsupported as `cost`.

    >>> import aisys
    >>> found = graph_cost(aisys.read("resnet18"), aisys.device("systolic-32x32"))
    >>> found.kernels[0].ops, found.kernels[0].counts["cycles"]
    (('conv',), 126380.0)
    """
    blocks = [(s.repeat, s.block, kernel) for s in graph.segments for kernel in kernels(s.block.ops, s.block.tensors)]
    rows = [kernel.row for _, _, kernel in blocks]
    priced: dict[str, CostTable] = {}
    places: list[tuple[str, int]] = [("", 0)] * len(rows)
    for kind, (table, index) in tables(rows).items():
        priced[kind] = cost(table, device, tier=tier)
        of_kind = [i for i, row in enumerate(rows) if row[0] == kind]
        for i, row in zip(of_kind, index, strict=True):
            places[i] = (kind, row)
    found = tuple(
        KernelCost(
            block=block.name, ops=tuple(op.name for op in kernel.ops), kind=kind, repeat=repeat,
            time_s=float(priced[kind].time_s[row]), energy_joule=float(priced[kind].energy_joule[row]),
            counts={name: float(np.asarray(count)[row]) for name, count in priced[kind].counts.items()},
        )
        for (repeat, block, kernel), (kind, row) in zip(blocks, places, strict=True)
    )  # fmt: skip
    return GraphCost(
        time_s=sum(k.repeat * k.time_s for k in found), energy_joule=sum(k.repeat * k.energy_joule for k in found),
        kernels=found,
    )  # fmt: skip
