"""Matrix multiplication on a GPU: tiles in waves over the multiprocessors, split along k, against main memory.

For each tile of a menu and each split of k, a block's main loop is bound by its multiplier, by what its multiprocessor
can take in from the shared cache per clock, or by the latency of its pipeline; waves of blocks, each with an epilogue,
run against the compulsory bytes of main memory. The library is taken to choose the fastest. Formats narrower than the
activations add what they do around the multiplication: quantising a, or unpacking b in every block. Of 2:4 weights a
block loads, unpacks and waits for the stored half alone: one instruction covers twice the k (Mishra et al. 2021).

Holds for kernels in a CUDA graph (no host in the way), with weights that come from main memory.
"""

from math import log

import numpy as np

from aisys.cost.gpu import limit, lookup
from aisys.cost.gpu.timing import Floats, KernelTiming, Names, by_name, bytes_per_element
from aisys.frozen import FrozenMap
from aisys.ir import OpTable, dtype
from aisys.ir.dtype import TWO_OF_FOUR
from aisys.machine import Device, Gpu

TILES = (
    (16, 32), (16, 64), (32, 64), (64, 32), (64, 64), (64, 128), (128, 64), (64, 256), (256, 64), (128, 128),
    (128, 256), (256, 128),
)  # fmt: skip
"""Rows and columns of a block's tile. Source: tile shapes of CUTLASS and cuBLAS kernel names, Ampere to Blackwell."""

SPLITS = (1, 2, 3, 4, 6, 8, 12, 16)
COLUMN_TILE, COLUMN_SPLITS = 64, (1, 2, 3, 4)
MIN_K_PER_SPLIT, K_STEP, ROW_ALIGNMENT = 128, 32, 4

BOUNDS = ("launch", "memory", "compute")
FIELDS = (
    "compute_efficiency", "memory_efficiency", "l2_bytes_per_clock_per_sm", "launch_s", "tile_s",
    "epilogue_bytes_per_clock", "k_latency_s", "wave_softness", "split_s", "overlap_loss", "b_share", "quantise_bytes",
    "dequantise_clocks", "pad_s", "pad_bytes", "is_column_walk", "joule_per_flop",
    *(f"{bound}_error_{side}" for bound in BOUNDS for side in ("low", "high")),
)  # fmt: skip
"""What the data sheet does not say of the kernels of one generation and one variant of number formats:

compute_efficiency, memory_efficiency: sustained share of the peaks. l2_bytes_per_clock_per_sm: what one multiprocessor
takes in. launch_s: from launch to launch of empty kernels. tile_s, epilogue_bytes_per_clock: of each block, before and
after its main loop. k_latency_s: per element of k where latency binds. wave_softness: 0 whole waves, 1 a tail that
others fill. split_s: of a split along k. overlap_loss: relative excess over the longer of compute and memory where both
take equally long. b_share: share of its b tile that a multiprocessor loads itself (two share one on Blackwell).
quantise_bytes: moved per element of a before the kernel. dequantise_clocks: per element of b in every block.
pad_s, pad_bytes: where m is no multiple of 4, of another kernel that pads, and moved per element of a and c.
is_column_walk: 1 where one block walks all rows of its columns (mixed-input kernels of Hopper). joule_per_flop: at the
full clock, as far as the board's limit answers by a lower clock. error: 90 % interval of the rows that it binds."""

RESULT_PASSES = "matmul.two_of_four.result_passes"
"""The constant that says how often the results of 2:4 products, which come transposed, are copied into rows."""

_BLOCKS = np.array([(*tile, split) for tile in TILES for split in SPLITS], dtype=float).T[:, None, :]
_WALKS = np.array([(1, COLUMN_TILE, split) for split in COLUMN_SPLITS], dtype=float).T[:, None, :]
_MAX_ROWS = 40
"""Rows priced at a time: their temporaries stay in the caches of a processor core."""
_MAX_ROWS_OF_SPLIT_WALK = 64
_WIDER_PER_FOLD = 1.6
_MAX_WIDENING = 4.0
"""How intervals widen, in log, per e-fold between a device and the one that was fitted. Source: assumed; B200 priced
with constants of H100 misses by twice what H100 does, 1.5 e-folds away from it."""
_STATIC_SHARE, _CLOCK_PER_POWER = 0.2, 0.4
"""Share of the board limit that nothing computes with, and the exponent of clock over power (voltage falls with the
clock, so power falls faster than it). Source: assumed; 1/3 with voltage proportional to clock, 1 without."""
_CACHED_SHARE = 0.1
"""Share of the shared cache that activations find free between two kernels. Source: assumed."""


def variant(a: str, b: str, math: str) -> str:
    """The family of kernels that multiplies formats a and b: bf16, fp8, fp8_block, nvfp4, int8, int4_wo, ...

    >>> variant("bf16", "int4_g64_s16", "bf16"), variant("fp16", "fp16", "fp16"), variant("fp8", "fp8_block", "fp8")
    ('int4_wo', 'bf16', 'fp8_block')
    """
    b, math = b.removesuffix(TWO_OF_FOUR), math.removesuffix(TWO_OF_FOUR)
    if "fp8_block" in (a, b, math):
        return "fp8_block"
    if math in ("bf16", "fp16"):
        return f"{dtype(b).family}_wo" if b not in ("bf16", "fp16", "fp32") else "bf16"
    return math


def variants(table: OpTable) -> Names:
    """The variant of every row."""
    a, b, math = table["a_dtype"], table["b_dtype"], table["math"]
    if len(table) and bool(((a == a[0]) & (b == b[0]) & (math == math[0])).all()):
        return np.full(len(table), variant(str(a[0]), str(b[0]), str(math[0])))
    rows = list(zip(a.tolist(), b.tolist(), math.tolist(), strict=True))
    known = {row: variant(*row) for row in set(rows)}
    return np.array([known[row] for row in rows], dtype=np.str_)


def time(table: OpTable, device: Device) -> KernelTiming:
    """Time and traffic of every matmul of `table`."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    names = variants(table)
    constants, keys = lookup.constants(gpu, names, FIELDS, _chain)
    rows = {
        **{name: table[name].astype(float) for name in ("batch", "m", "n", "k")},
        **{x: bytes_per_element(table[f"{x}_dtype"]) for x in ("a", "b", "out")},
        "result_passes": _result_passes(names, table["math"], gpu),
        "stored": by_name(table["b_dtype"], lambda name: float(dtype(name).density.density)),
        "peak": by_name(table["math"], lambda math: limit.peak_flop_per_s(gpu, math)) / float(gpu.num_sm),
        **constants,
    }
    found = {name: np.empty(len(table)) for name in ("time_s", "compute", "memory", "waves", "chip_bytes")}
    walks = constants["is_column_walk"] > 0
    for is_walk in (False, True):
        mine = np.flatnonzero(walks == is_walk)
        for start in range(0, len(mine), _MAX_ROWS):
            part = mine[start : start + _MAX_ROWS]
            result = _fastest({name: values[part][:, None] for name, values in rows.items()}, is_walk, device)
            for name, values in result.items():
                found[name][part] = values
    extra = constants["launch_s"] + _around_s(rows, device)
    bound = np.where(found["time_s"] < extra, 0, np.where(found["compute"] > found["memory"], 2, 1))
    low, high = (np.choose(bound, [constants[f"{name}_error_{side}"] for name in BOUNDS]) for side in ("low", "high"))
    least = limit.work(table)
    power = widening(device)
    return KernelTiming(
        time_s=found["time_s"] + extra, flop=least.flop, math=table["math"],
        dram_bytes=least.read_bytes + least.write_bytes, chip_bytes=found["chip_bytes"],
        bound=np.array(BOUNDS)[bound], error_low=low**power, error_high=high**power,
        keys=keys | ({gpu.constant(RESULT_PASSES).key} if rows["result_passes"].any() else set()),
        counts=FrozenMap({"waves": found["waves"]}),
    )  # fmt: skip


def _result_passes(variants: Names, math: Names, gpu: Gpu) -> Floats:
    """How often the result of each row crosses the memory once more, in and out.

    The library of 2:4 products takes the sparse operand first, so that results come transposed, and what cannot read
    them so copies them. Kernels that unpack weights are made for their operands' order.
    """
    is_copied = np.char.endswith(math, TWO_OF_FOUR) & ~np.char.endswith(variants, "_wo")
    return np.where(is_copied, float(gpu.constant(RESULT_PASSES)), 0.0) if is_copied.any() else np.zeros(len(math))


def traits(device: Device) -> dict[str, float]:
    """What a device has in common with the one that its generation's constants were fitted on, or has not."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    per_clock = max(float(gpu.flop_per_s.get(math, 0.0)) for math in ("bf16", "fp16", "fp32")) / float(gpu.clock_hz)
    return {
        "num_sm": float(gpu.num_sm), "flop_per_clock_per_sm": per_clock / float(gpu.num_sm),
        "bandwidth_bytes_per_s": float(device.main_memory.bandwidth_bytes_per_s), "max_watt": float(device.max_watt),
    }  # fmt: skip


def widening(device: Device) -> float:
    """Power on the factors of an interval: 1 on the device of the fit, more the further a device is from it."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    known = [(value, gpu.constants.get(f"matmul.fitted_on.{name}")) for name, value in traits(device).items()]
    folds = sum(abs(log(value / float(there))) for value, there in known if there)
    return min(1 + _WIDER_PER_FOLD * folds, _MAX_WIDENING)


def features(table: OpTable, gpu: Gpu) -> Floats:
    """What residuals are learned over [rows, 4]: log2 of m, n and k, and waves of the largest tile over whole ones."""
    m, n, k = (table[name].astype(float) for name in ("m", "n", "k"))
    waves = table["batch"] * np.ceil(m / 256) * np.ceil(n / 128) / float(gpu.num_sm)
    return np.stack([np.log2(m), np.log2(n), np.log2(k), np.ceil(waves) / np.maximum(waves, 1)], axis=1)


def residual_lengths(variant: str) -> Floats:
    """Distances of `features` over which the errors of matmuls are alike, chosen on unseen weight shapes."""
    return np.array([2.0, 3.0, 3.0, 0.2])


def _fastest(r: dict[str, Floats], is_walk: bool, device: Device) -> dict[str, Floats]:
    """The fastest block shape and split of every row; `r`: columns [rows, 1]."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    clock_hz, num_sm = float(gpu.clock_hz), float(gpu.num_sm)
    tile_m, tile_n, split = _WALKS if is_walk else _BLOCKS
    if is_walk:
        tile_m = np.ceil(r["m"] / 16) * 16
    blocks = np.ceil(r["m"] / tile_m) * np.ceil(r["n"] / tile_n) * (split * r["batch"])
    waves = blocks / num_sm
    rounds = np.maximum(1, np.ceil(waves) + r["wave_softness"] * (waves - np.ceil(waves)))
    depth = np.ceil(r["k"] / (split * K_STEP)) * K_STEP
    port = r["l2_bytes_per_clock_per_sm"] * clock_hz
    fill_bytes = tile_m * r["a"] + tile_n * (r["b"] * r["b_share"])
    unpacked = r["dequantise_clocks"] * r["stored"] / clock_hz
    step = tile_n * (tile_m * (2 / (r["peak"] * r["compute_efficiency"])) + unpacked)
    step = np.maximum(np.maximum(step, fill_bytes / port) * rounds, r["k_latency_s"] * r["stored"])
    ends = r["tile_s"] + tile_m * tile_n * (r["out"] / (r["epilogue_bytes_per_clock"] * clock_hz))
    compute = step * depth + ends * rounds
    moved = r["batch"] * (r["m"] * r["k"] * r["a"] + r["n"] * r["k"] * r["b"] + r["m"] * r["n"] * r["out"])
    memory = moved / (_bandwidth(device) * r["memory_efficiency"])
    partial_s = r["batch"] * r["m"] * r["n"] * (8 / num_sm) / port
    gather = np.where(split > 1, split * partial_s + r["split_s"], 0.0)
    total = together(compute, memory, r["overlap_loss"]) + gather
    wrong = (split > 1) & ((r["k"] < split * MIN_K_PER_SPLIT) | (is_walk & (r["m"] > _MAX_ROWS_OF_SPLIT_WALK)))
    total[np.broadcast_to(wrong, total.shape)] = np.inf
    best = np.argmin(total, axis=1)
    index = np.arange(len(best)), best
    clock = _clock_share(r, moved[:, 0], total[index], device)
    slowed = together(compute[index] / clock, memory[:, 0], r["overlap_loss"][:, 0])
    return {
        "time_s": slowed + gather[index], "compute": compute[index], "memory": memory[:, 0], "waves": waves[index],
        "chip_bytes": (blocks * fill_bytes * depth)[index],
    }  # fmt: skip


def together(compute: Floats, memory: Floats, loss: Floats) -> Floats:
    """The time of two parts that overlap: the longer, and up to `loss` more where both take equally long."""
    apart = compute - memory
    return np.asarray((compute + memory + np.sqrt(apart * apart + (4 * loss * loss) * (compute * memory))) / 2)


def _clock_share(r: dict[str, Floats], moved: Floats, time_s: Floats, device: Device) -> Floats:
    """The clock that the board's power limit leaves over, as a share of the full one."""
    flop_per_s = 2 * (r["batch"] * r["m"] * r["n"] * r["k"])[:, 0] / (time_s + r["launch_s"][:, 0])
    limit_watt = float(device.max_watt)
    memory_watt = float(device.main_memory.energy_joule_per_byte) * moved / time_s
    left = np.maximum((1 - _STATIC_SHARE) * limit_watt - memory_watt, _STATIC_SHARE * limit_watt)
    return np.asarray(np.minimum(1, (left / (r["joule_per_flop"][:, 0] * flop_per_s)) ** _CLOCK_PER_POWER))


def _around_s(r: dict[str, Floats], device: Device) -> Floats:
    """Kernels around the multiplication, from the shared cache as far as it can hold what they touch.

    Rounding the activations first; padding the rows of both activations to a multiple of 4 where they are none.
    """
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    inputs, outputs = r["batch"] * r["m"] * r["k"], r["batch"] * r["m"] * r["n"]
    pads = np.where(r["m"] % ROW_ALIGNMENT == 0, 0.0, 1.0)
    moved = inputs * r["quantise_bytes"] + (inputs + outputs) * (r["pad_bytes"] * pads)
    moved = moved + outputs * r["out"] * 2 * r["result_passes"]
    cached = np.minimum(1, _CACHED_SHARE * float(gpu.l2_bytes) / (inputs + outputs * pads))
    far = _bandwidth(device) * r["memory_efficiency"]
    near = r["l2_bytes_per_clock_per_sm"] * float(gpu.clock_hz * gpu.num_sm)
    return np.asarray(moved * (cached / near + (1 - cached) / far) + r["pad_s"] * pads)


def _bandwidth(device: Device) -> float:
    """Bytes per second of main memory, without what a board's own error correction takes (`memory_share`)."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    return float(device.main_memory.bandwidth_bytes_per_s) * float(gpu.constants.get("memory_share", 1.0))


def _chain(name: str, field: str) -> tuple[str, ...]:
    return f"matmul.{name}.{field}", f"matmul.{field}"
