"""Ops that move bytes past an ALU on a GPU: norms, activations, softmax, rotary embedding, gathers, optimizer updates.

A pass over the data at a share of the main memory's bandwidth, or of the shared cache's where the data fits, after a
launch. Ops that reduce along rows give each row to a block of threads: few or very short rows leave
multiprocessors, or their threads, idle.
"""

import numpy as np

from aisys.cost.gpu import lookup
from aisys.cost.gpu.timing import Floats, KernelTiming, Names, by_name
from aisys.cost.types import Tier
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.machine import Device, Gpu

FIELDS = (
    "launch_s", "memory_efficiency", "cached_share", "cache_bytes_per_clock_per_sm", "row_s", "row_bytes_per_clock",
    "error_low", "error_high",
)  # fmt: skip

_ROW_WORDS = ("norm", "softmax", "cross_entropy", "topk")
"""A function whose name holds one of these reduces along its rows."""


def time(table: OpTable, device: Device, tier: Tier) -> KernelTiming:
    """Time and traffic of every streaming op of `table`."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    c, keys = lookup.constants(gpu, table["function"], FIELDS, _chain)
    rows = np.maximum(table["rows"].astype(float), 1)
    moved = table["read_bytes"] + table["write_bytes"]
    cached = np.clip(2 - moved / (c["cached_share"] * gpu.l2_bytes), 0.0, 1.0)
    cache_s = moved / (c["cache_bytes_per_clock_per_sm"] * gpu.clock_hz * gpu.num_sm)
    bandwidth = float(device.main_memory.bandwidth_bytes_per_s)
    memory = np.maximum(moved * (1 - cached) / (bandwidth * c["memory_efficiency"]), cache_s)
    row = c["row_s"] + moved / rows / (c["row_bytes_per_clock"] * gpu.clock_hz)
    by_row = _reduces(table["function"]) * row * np.maximum(rows / gpu.num_sm, 1.0)
    busy = np.maximum(memory, by_row)
    return KernelTiming(
        time_s=c["launch_s"] + busy, flop=np.zeros(len(table)), math=np.full(len(table), ""), dram_bytes=moved,
        chip_bytes=moved, bound=np.where(busy < c["launch_s"], "launch", np.where(by_row > memory, "rows", "memory")),
        error_low=c["error_low"], error_high=c["error_high"], keys=keys,
        counts=FrozenMap({"cached_share": np.asarray(cached, dtype=float)}),
    )  # fmt: skip


def _reduces(functions: Names) -> Floats:
    """1 for functions that reduce along rows, else 0."""
    return by_name(functions, lambda name: float(any(word in name for word in _ROW_WORDS)))


def _chain(function: str, field: str) -> tuple[str, ...]:
    kind = "row" if any(word in function for word in _ROW_WORDS) else "pointwise"
    return f"stream.{function}.{field}", f"stream.{kind}.{field}", f"stream.{field}"
