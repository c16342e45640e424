"""Times of single ops, of loops over one op and of whole programs on a systolic array that overlaps its folds."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from aisys.cost import Tier, cost, graph_cost
from aisys.cost.systolic_array import overlapped
from aisys.ir import Graph, OpTable
from aisys.machine import Device, SystolicArray


class Timed(NamedTuple):
    """Seconds, and the ends of their 90 % interval (NaN where the kind of op was never measured)."""

    time_s: float
    low_s: float
    high_s: float


def alone(ops: OpTable, device: Device, tier: Tier) -> Timed:
    """The one op of `ops` as a program of its own, from and to main memory."""
    return _placed(ops, device, tier, overlapped.alone)


def in_loop(ops: OpTable, device: Device, tier: Tier) -> Timed:
    """The one op of `ops`, again and again on operands that stay in the vector memory."""
    return _placed(ops, device, tier, overlapped.in_loop)


def _placed(ops: OpTable, device: Device, tier: Tier, placed: Callable[[OpTable], overlapped.Moved]) -> Timed:
    if tier == "limit":
        limit = float(cost(ops, device, tier="limit").time_s[0])
        return Timed(limit, np.nan, np.nan)
    done = overlapped.time(ops, placed(ops), device)
    time = float(done.time_s[0])
    return Timed(time, time * float(done.error[0][0]), time * float(done.error[1][0]))


def one_program(ops: Sequence[OpTable], device: Device, tier: Tier) -> Timed:
    """Some ops after one another in one program that a host starts."""
    total = sum(float(cost(op, device, tier=tier).time_s[0]) for op in ops)
    if tier == "limit":
        return Timed(total, np.nan, np.nan)
    c = overlapped.constants(device)
    return _of_program(total + c["alone_s"] - c["launch_s"], device)


def forward(graph: Graph, device: Device, tier: Tier) -> Timed:
    """All kernels of `graph`, each repetition of a block by itself, as one program."""
    total = graph_cost(graph, device, tier=tier).time_s
    return _of_program(total, device) if tier != "limit" else Timed(total, np.nan, np.nan)


def _of_program(time_s: float, device: Device) -> Timed:
    array = device.architecture
    assert isinstance(array, SystolicArray)
    low, high = (float(array.constants.get(f"overlapped.program_error_{side}", np.nan)) for side in ("low", "high"))
    return Timed(time_s, time_s * low, time_s * high)
