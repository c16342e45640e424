"""Matrix multiplications of many experts in one kernel: tiles per expert, weights of the experts that got rows.

The m rows of a table row choose among `groups` experts evenly and at random, so few rows leave experts without any,
and each expert pads its last tile. A skewed routing is the even one over fewer experts (`effective_groups`).
"""

import numpy as np

from aisys.cost.gpu import limit, lookup
from aisys.cost.gpu.matmul import variants
from aisys.cost.gpu.timing import Floats, KernelTiming, by_name, bytes_per_element
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.machine import Device, Gpu

TILES = ((16, 128), (32, 128), (64, 128), (64, 256), (128, 128), (128, 256))
"""Rows and columns of one block. Source: tile menus of the fused MoE kernels of vLLM and of CUTLASS grouped GEMM."""

FIELDS = (
    "compute_efficiency", "small_tile_penalty", "memory_efficiency", "l2_bytes_per_clock_per_sm",
    "tile_bytes_per_clock", "tile_s", "launch_s", "error_low", "error_high",
)  # fmt: skip

_TILE_ROWS, _TILE_COLS = np.array(TILES, dtype=float).T[:, None, :]


def effective_groups(active: Floats, rows: Floats) -> Floats:
    """How many evenly chosen experts leave as many of them active as a skewed routing does: `active` of `rows` rows.

    >>> round(float(effective_groups(np.array([57.0]), np.array([128.0]))[0]))
    67
    """
    low, high = np.array(active, dtype=float), np.maximum(active, 1) * 1e6
    for _ in range(60):
        middle = np.sqrt(low * high)
        fewer = limit.active_groups(middle, rows) < active
        low, high = np.where(fewer, middle, low), np.where(fewer, high, middle)
    return np.asarray(high)


def time(table: OpTable, device: Device) -> KernelTiming:
    """Time and traffic of every grouped matmul of `table`."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    c, keys = lookup.constants(gpu, variants(table), FIELDS, _chain)
    c = {name: values[:, None] for name, values in c.items()}
    groups, m, n, k = (table[name].astype(float)[:, None] for name in ("groups", "m", "n", "k"))
    a, b, out = (bytes_per_element(table[f"{x}_dtype"])[:, None] for x in ("a", "b", "out"))
    peak = by_name(table["math"], lambda math: limit.peak_flop_per_s(gpu, math))[:, None]
    active = limit.active_groups(groups, m)

    tiles_m = np.maximum(active, m / _TILE_ROWS + active / 2)
    blocks = tiles_m * np.ceil(n / _TILE_COLS)
    penalty = 1 + c["small_tile_penalty"] * np.maximum(0, np.sqrt(128 * 128 / (_TILE_ROWS * _TILE_COLS)) - 0.7)
    multiply = 2 * _TILE_ROWS * _TILE_COLS * k * gpu.num_sm * penalty / (peak * c["compute_efficiency"])
    fill_bytes = k * (_TILE_ROWS * a + _TILE_COLS * b)
    alone = np.maximum(multiply, fill_bytes / (c["tile_bytes_per_clock"] * gpu.clock_hz)) + c["tile_s"]
    together = np.maximum(multiply, fill_bytes / (c["l2_bytes_per_clock_per_sm"] * gpu.clock_hz)) + c["tile_s"]
    compute = np.maximum(blocks / gpu.num_sm * together, alone)
    best = np.argmin(compute, axis=1)[:, None]
    moved = active * n * k * b + m * k * a + m * n * out
    memory = moved / (float(device.main_memory.bandwidth_bytes_per_s) * c["memory_efficiency"])
    chosen = np.take_along_axis(compute, best, axis=1)
    busy = np.maximum(chosen, memory)[:, 0]
    work = np.where(chosen > memory, "compute", "memory")[:, 0]
    padded = np.take_along_axis(tiles_m * _TILE_ROWS, best, axis=1)
    chip = np.take_along_axis(blocks * fill_bytes, best, axis=1)
    return KernelTiming(
        time_s=busy + c["launch_s"][:, 0], flop=(2 * padded * n * k)[:, 0], math=table["math"],
        dram_bytes=moved[:, 0], chip_bytes=chip[:, 0], bound=np.where(busy < c["launch_s"][:, 0], "launch", work),
        error_low=c["error_low"][:, 0], error_high=c["error_high"][:, 0], keys=keys,
        counts=FrozenMap({"active_groups": active[:, 0]}),
    )  # fmt: skip


def features(table: OpTable, gpu: Gpu) -> Floats:
    """What residuals are learned over [rows, 4]: log2 of experts, rows, columns and depth."""
    return np.stack([np.log2(table[name].astype(float)) for name in ("groups", "m", "n", "k")], axis=1)


def residual_lengths(variant: str) -> Floats:
    """Distances of `features` over which errors are alike. Source: assumed."""
    return np.array([2.0, 2.0, 2.0, 2.0])


def _chain(variant: str, field: str) -> tuple[str, ...]:
    return f"grouped_matmul.{variant}.{field}", f"grouped_matmul.{field}"
