"""Ops that move bytes past an ALU on a GPU: norms, activations, softmax, rotary embedding, gathers, optimizer updates.

A pass over the data at a share of the main memory's bandwidth, or of the shared cache's where the data fits, after a
launch. A kernel that gives each row to one block is bound by what a block streams: few rows leave multiprocessors
idle. One that walks over its row several times (statistics, then the result) finds it again in the multiprocessor's
own cache while the rows in flight fit there, and reads it from main memory again where they do not.
"""

import numpy as np

from aisys.cost.gpu import lookup
from aisys.cost.gpu.timing import Floats, KernelTiming, Names
from aisys.cost.types import Tier
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.machine import Device, Gpu

FIELDS = (
    "launch_s", "memory_efficiency", "cached_share", "bytes_per_clock_per_sm", "row_s", "row_bytes_per_clock",
    "extra_passes", "threads_per_row", "threads_per_sm", "few_rows_s", "error_low", "error_high",
)  # fmt: skip

FEW_ROWS = 16
"""Most rows that a gather serves with its kernel for few indices. Source: PyTorch, indexSelectSmallIndex."""

_ROW_WORDS = ("norm", "softmax", "cross_entropy", "topk")
"""A function whose name holds one of these reduces along its rows."""


def time(table: OpTable, device: Device, tier: Tier) -> KernelTiming:
    """Time and traffic of every streaming op of `table`."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    c, keys = lookup.constants(gpu, _variants(table), FIELDS, _chain)
    rows = np.maximum(table["rows"].astype(float), 1)
    moved = table["read_bytes"] + table["write_bytes"]
    again = table["read_bytes"] * c["extra_passes"] * _misses(table["read_bytes"] / rows, c, gpu)
    cached = np.clip(2 - moved / (c["cached_share"] * gpu.l2_bytes), 0.0, 1.0)
    dram = moved * (1 - cached) + again
    memory = dram / (float(device.main_memory.bandwidth_bytes_per_s) * c["memory_efficiency"])
    memory = np.maximum(memory, moved / (c["bytes_per_clock_per_sm"] * gpu.clock_hz * gpu.num_sm))
    resident = np.floor(c["threads_per_sm"] / c["threads_per_row"])
    row = c["row_s"] + moved / rows / (c["row_bytes_per_clock"] * gpu.clock_hz)
    by_row = row * np.maximum(rows / (gpu.num_sm * resident), 1.0)
    few = np.where(rows <= FEW_ROWS, c["few_rows_s"] * rows, 0.0)
    busy = np.maximum(memory, by_row) + few
    return KernelTiming(
        time_s=c["launch_s"] + busy, flop=np.zeros(len(table)), math=np.full(len(table), ""), dram_bytes=moved + again,
        chip_bytes=moved + again, bound=np.where(busy < c["launch_s"], "launch", np.where(by_row > memory, "rows", "memory")),
        error_low=c["error_low"], error_high=c["error_high"], keys=keys,
        counts=FrozenMap({"cached_share": np.asarray(cached, dtype=float)}),
    )  # fmt: skip


def _misses(row_bytes: Floats, c: dict[str, Floats], gpu: Gpu) -> Floats:
    """Share of a row that its next pass finds neither in the multiprocessor nor in the shared cache."""
    in_flight = row_bytes * np.floor(c["threads_per_sm"] / c["threads_per_row"])
    near = np.clip(2 * in_flight / gpu.shared_memory_bytes_per_sm - 0.5, 0.0, 1.0)
    far = np.clip(2 * (in_flight * gpu.num_sm / (0.5 * gpu.l2_bytes) - 0.5), 0.0, 1.0)
    return np.asarray(near * far)


def _variants(table: OpTable) -> Names:
    """Function and width of every row: kernels for 32-bit numbers are others than those for 16 bits and less."""
    wide = np.isin(table["dtype"], ("fp32", "tf32", "fp64"))
    return np.char.add(table["function"], np.where(wide, ".fp32", ""))


def _chain(variant: str, field: str) -> tuple[str, ...]:
    function, _, width = variant.partition(".")
    kind = "row" if any(word in function for word in _ROW_WORDS) else "pointwise"
    wide = (f"stream.{function}.{width}.{field}", f"stream.{kind}.{width}.{field}") if width else ()
    return (*wide, f"stream.{function}.{field}", f"stream.{kind}.{field}", f"stream.{field}")
