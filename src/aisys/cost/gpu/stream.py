"""Ops that move bytes past an ALU on a GPU: norms, activations, softmax, rotary embedding, gathers, optimizer updates.

A pass over the data at a share of the main memory's bandwidth, or of the shared cache's where the data fits, after a
launch. Kernels give each row to one block of threads, which walks over it in steps of one vector per thread: the last
step may be part empty, few rows leave multiprocessors idle, and a row takes at least what one block can stream. A
kernel that walks over its row several times (statistics, then the result) finds it again in the multiprocessor's own
cache while the rows in flight fit there, and reads it from main memory again where they do not.
"""

import numpy as np

from aisys.cost.gpu import lookup
from aisys.cost.gpu.timing import Floats, KernelTiming, Names, bytes_per_element
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.machine import Device, Gpu

FIELDS = (
    "launch_s", "memory_efficiency", "relative_efficiency", "cached_share", "bytes_per_clock_per_sm", "row_s",
    "row_bytes_per_clock", "extra_passes", "one_pass_cols", "vector_bytes", "threads_per_row", "threads_per_sm",
    "near_cache_bytes", "l2_partitions", "few_rows_s", "error_low", "error_high",
)  # fmt: skip

FEW_ROWS = 16
"""Most rows that a gather serves with its kernel for few indices. Source: PyTorch, indexSelectSmallIndex."""

NEAR, FAR = (0.4, 1.0), (0.35, 1.1)
"""Rows in flight over the multiprocessor's own cache, and over the shared one, up to which every second read hits and
from which none does. Source: measured/neusight_fp32_ops.csv, layer norm and softmax on six GPUs."""

_ROW_WORDS = ("norm", "softmax", "cross_entropy", "topk")
"""A function whose name holds one of these reduces along its rows."""


def time(table: OpTable, device: Device) -> KernelTiming:
    """Time and traffic of every streaming op of `table`."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    c, keys = lookup.constants(gpu, variants(table), FIELDS, _chain)
    rows = np.maximum(table["rows"].astype(float), 1)
    moved = table["read_bytes"] + table["write_bytes"]
    threads, steps = _blocks(table, c)
    resident = np.maximum(np.floor(c["threads_per_sm"] / threads), 1)
    passes = np.where(table["cols"] > c["one_pass_cols"], c["extra_passes"], 0.0)
    again = table["read_bytes"] * passes * _misses(table["read_bytes"] / rows * resident, c, gpu)
    cached = np.clip(2 - moved / (c["cached_share"] * gpu.l2_bytes), 0.0, 1.0)
    bandwidth = float(device.main_memory.bandwidth_bytes_per_s) * c["memory_efficiency"] * c["relative_efficiency"]
    memory = (moved * (1 - cached) + again) / bandwidth

    padded = moved * steps
    waves = np.maximum(rows / (gpu.num_sm * resident), 1.0)
    together = waves * c["row_s"] + padded / (c["bytes_per_clock_per_sm"] * gpu.clock_hz * gpu.num_sm)
    alone = c["row_s"] + padded / rows / (c["row_bytes_per_clock"] * gpu.clock_hz)
    few = np.where(rows <= FEW_ROWS, c["few_rows_s"] * rows, 0.0)
    by_row = np.maximum(together, alone) + few
    busy = np.maximum(memory, by_row)
    work = np.where(by_row > memory, "rows", "memory")
    return KernelTiming(
        time_s=c["launch_s"] + busy, flop=np.zeros(len(table)), math=np.full(len(table), ""), dram_bytes=moved + again,
        chip_bytes=moved + again, bound=np.where(busy < c["launch_s"], "launch", work), error_low=c["error_low"],
        error_high=c["error_high"], keys=keys, counts=FrozenMap({"waves": waves}),
    )  # fmt: skip


def _blocks(table: OpTable, c: dict[str, Floats]) -> tuple[Floats, Floats]:
    """Threads that share a row: half as many as it has vectors, as a power of two; and the row's padding factor."""
    cols = np.maximum(table["cols"].astype(float), 1)
    per_thread = np.maximum(c["vector_bytes"] / bytes_per_element(table["dtype"]), 1)
    wanted = np.exp2(np.ceil(np.log2(np.maximum(cols / per_thread / 2, 1))))
    threads = np.clip(wanted, 32, c["threads_per_row"])
    step = threads * per_thread
    return threads, np.where(cols > step, np.ceil(cols / step) * step / cols, 1.0)


def _misses(in_flight: Floats, c: dict[str, Floats], gpu: Gpu) -> Floats:
    """Share of a second read that neither the multiprocessor's cache nor the shared one holds."""
    far = in_flight * gpu.num_sm / (gpu.l2_bytes / c["l2_partitions"])
    return _ramp(in_flight / c["near_cache_bytes"], *NEAR) * _ramp(far, *FAR)


def _ramp(value: Floats, start: float, end: float) -> Floats:
    return np.asarray(np.clip((value - start) / (end - start), 0.0, 1.0))


def features(table: OpTable, gpu: Gpu) -> Floats:
    """What residuals are learned over [rows, 3]: log2 of rows, columns and bytes."""
    moved = table["read_bytes"] + table["write_bytes"]
    sizes = (table["rows"], table["cols"], moved)
    return np.stack([np.log2(np.maximum(size.astype(float), 1)) for size in sizes], axis=1)


def residual_lengths(variant: str) -> Floats:
    """Distances of `features` over which errors are alike. Source: assumed."""
    return np.array([2.0, 2.0, 2.0])


def variants(table: OpTable) -> Names:
    """Function and width of every row: kernels for 32-bit numbers are others than those for 16 bits and less."""
    wide = np.isin(table["dtype"], ("fp32", "tf32", "fp64"))
    return np.char.add(table["function"], np.where(wide, ".fp32", ""))


def _chain(variant: str, field: str) -> tuple[str, ...]:
    function, _, width = variant.partition(".")
    kind = "row" if any(word in function for word in _ROW_WORDS) else "pointwise"
    suffix = f".{width}" if width else ""
    return f"stream.{function}{suffix}.{field}", f"stream.{kind}{suffix}.{field}", f"stream.{field}"
