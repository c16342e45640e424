"""GPU cost models: one module per op kind says how long, this file adds the floor, the energy and the interval.

A kind's module has `time(table, device) -> KernelTiming`, and for the calibrated tier the names of its kernel
`variants(table)`, the `features(table, gpu)` that their errors depend on, and `residual_lengths(variant)`.
"""

from dataclasses import replace
from importlib import import_module

import numpy as np

from aisys.cost.gpu import energy, interval, limit
from aisys.cost.gpu.calibrated import corrected
from aisys.cost.gpu.timing import Floats, KernelTiming, Names
from aisys.cost.types import CostTable, Tier
from aisys.errors import Unsupported
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.machine import Device

_KINDS = ("matmul", "grouped_matmul", "conv", "attention", "stream")
_NEVER_MEASURED = ("conv",)
"""Kinds of which no table teaches residuals."""


def price(table: OpTable, device: Device, *, tier: Tier = "analytic") -> CostTable:
    """Time, energy, traffic and interval of every row of `table` on GPU `device`.

    Raises Unsupported for an op kind, or a number format, that the device has no model for.
    """
    if table.kind not in _KINDS:
        raise Unsupported(f"a GPU has no cost model for op kind {table.kind!r}; it has {', '.join(_KINDS)}")
    least = limit.work(table)
    compute, memory = limit.compute_s(least, device), limit.memory_s(least, device)
    floor = np.maximum(compute, memory)
    if tier == "limit":
        timing = _light(least, floor, np.where(compute > memory, "compute", "memory"), table, device)
    else:
        model = import_module(f"aisys.cost.gpu.{table.kind}")
        timing = model.time(table, device)
        if tier == "calibrated" and table.kind not in _NEVER_MEASURED:
            timing = corrected(timing, table, device, model)
    timing = replace(timing, time_s=np.maximum(timing.time_s, floor))
    return CostTable(
        time_s=timing.time_s,
        energy_joule=energy.joule(timing, device),
        traffic_bytes=FrozenMap({device.main_memory.name: timing.dram_bytes}),
        bound=timing.bound,
        error_low=timing.error_low,
        error_high=timing.error_high,
        counts=timing.counts,
        keys=timing.keys | energy.keys(timing, device),
    )


def _light(least: limit.Work, time_s: Floats, bound: Names, table: OpTable, device: Device) -> KernelTiming:
    moved = least.read_bytes + least.write_bytes
    low, high = interval.of_limit(table, device)
    return KernelTiming(
        time_s=time_s, flop=least.flop, math=least.math, dram_bytes=moved, chip_bytes=moved, bound=bound,
        error_low=low, error_high=high,
    )  # fmt: skip
