"""Matrix multiplication on a GPU: tiles in waves over the multiprocessors, split along k, against memory.

For each tile of the generation's menu and each split of k, time = max(compute, memory) + reduction + launch; the
library is taken to choose the fastest. Weights are read from main memory (or the shared cache where they fit).
"""

from dataclasses import dataclass

import numpy as np

from aisys.cost.gpu.timing import Floats, KernelTiming, Names, bytes_per_element
from aisys.cost.types import Tier
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.machine import Device, Gpu

TILES = ((16, 64), (64, 64), (64, 128), (128, 64), (128, 128), (64, 256), (128, 256), (256, 128))
SPLITS = (1, 2, 4, 8)
_CONFIGS = np.array([(tm, tn, s) for tm, tn in TILES for s in SPLITS], dtype=float).T[:, None, :]


@dataclass(frozen=True, slots=True)
class Constants:
    """What the data sheet does not say of one generation's matmul kernels in one variant of number formats."""

    compute_efficiency: float
    small_tile_penalty: float
    memory_efficiency: float
    launch_s: float
    tile_s: float
    l2_bytes_per_clock_per_sm: float
    wave_softness: float
    memory_floor: float
    split_s: float


def variant(a: str, b: str, math: str) -> str:
    """The family of kernels that multiplies formats a and b: bf16, fp8, fp8_block, nvfp4, int8, int4_wo, ...

    >>> variant("bf16", "int4", "bf16"), variant("fp16", "fp16", "fp16"), variant("fp8", "fp8_block", "fp8")
    ('int4_wo', 'bf16', 'fp8_block')
    """
    if "fp8_block" in (a, b, math):
        return "fp8_block"
    if math in ("bf16", "fp16"):
        return f"{b}_wo" if b not in ("bf16", "fp16", "fp32") else "bf16"
    return math


def variants(table: OpTable) -> Names:
    """The variant of every row."""
    rows = list(zip(table["a_dtype"].tolist(), table["b_dtype"].tolist(), table["math"].tolist(), strict=True))
    known = {row: variant(*row) for row in set(rows)}
    return np.array([known[row] for row in rows], dtype=np.str_)


def time(table: OpTable, device: Device, tier: Tier) -> KernelTiming:
    """Time and traffic of every matmul of `table`."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    batch, m, n, k = (table[name].astype(float)[:, None] for name in ("batch", "m", "n", "k"))
    a_bytes, b_bytes, c_bytes = (bytes_per_element(table[f"{x}_dtype"])[:, None] for x in ("a", "b", "out"))
    names = variants(table)
    distinct, index = np.unique(names, return_inverse=True)
    found = {str(name): _constants(gpu, str(name)) for name in distinct}
    c = {f: np.array([getattr(found[str(d)][0], f) for d in distinct])[index][:, None] for f in Constants.__slots__}
    peak = np.array([gpu.peak_flop_per_s({"fp8_block": "fp8"}.get(str(x), str(x))) for x in table["math"]])[:, None]

    tm, tn, split = _CONFIGS
    legal = (split == 1) | (k / split >= 128)
    num_tiles = np.ceil(m / tm) * np.ceil(n / tn) * split * batch
    waves = num_tiles / gpu.num_sm
    effective = np.where(waves <= 1, 1.0, (1 - c["wave_softness"]) * np.ceil(waves) + c["wave_softness"] * waves)
    shape_penalty = 1 + c["small_tile_penalty"] * np.maximum(0, np.sqrt(128 * 128 / (tm * tn)) - 0.7)
    k_part = k / split
    multiply = 2 * tm * tn * k_part / (peak / gpu.num_sm * c["compute_efficiency"] / shape_penalty)
    l2_rate = c["l2_bytes_per_clock_per_sm"] * gpu.clock_hz * gpu.num_sm
    fill_bytes = (tm * a_bytes + tn * b_bytes) * k_part
    feed = fill_bytes * np.minimum(num_tiles, gpu.num_sm) / l2_rate
    compute = effective * np.maximum(multiply, feed) + np.minimum(effective, 3) * c["tile_s"]
    moved = batch * (m * k * a_bytes + n * k * b_bytes + m * n * c_bytes)
    parallel = c["memory_floor"] + (1 - c["memory_floor"]) * np.minimum(1, 2 * waves)
    memory = moved / (float(device.main_memory.bandwidth_bytes_per_s) * c["memory_efficiency"] * parallel)
    reduce = np.where(split > 1, split * m * n * batch * 8 / l2_rate + c["split_s"], 0.0)
    total = np.where(legal, np.maximum(compute, memory) + reduce, np.inf)
    best = np.argmin(total, axis=1)[:, None]

    def at(values: Floats) -> Floats:
        return np.take_along_axis(np.broadcast_to(values, total.shape), best, axis=1)[:, 0]

    work = np.where(at(compute) > at(memory), "compute", "memory")
    unknown = np.full(len(table), np.nan)
    return KernelTiming(
        time_s=at(total) + c["launch_s"][:, 0], flop=(2 * batch * m * n * k)[:, 0], math=table["math"],
        dram_bytes=moved[:, 0], chip_bytes=at(num_tiles * fill_bytes), error_low=unknown, error_high=unknown,
        bound=np.where(at(total) < c["launch_s"][:, 0], "launch", work),
        keys=frozenset(key for _, keys in found.values() for key in keys),
        counts=FrozenMap({"waves": at(waves)}),
    )  # fmt: skip


def _constants(gpu: Gpu, name: str) -> tuple[Constants, frozenset[str]]:
    values = [gpu.constant(f"matmul.{name}.{field}", f"matmul.{field}") for field in Constants.__slots__]
    return Constants(*(float(v) for v in values)), frozenset(v.key for v in values)
