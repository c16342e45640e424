"""Attention on a GPU: fused kernels whose blocks of queries walk over the keys, in waves over the multiprocessors.

Prefill and backward: one block per `tile_q` queries of a head; its keys come in tiles and those above the causal
diagonal are skipped. A pair of query and key costs its multiplications and, after them, one exponential on the
special-function units. Decode: the queries of all heads that share a key head form one tile (up to `max_group` of
them), and the keys are split over idle multiprocessors, which costs a second, combining kernel.
A cache in pages (page_size > 0) adds what serving stacks do inside the op: write keys and values, scale, schedule.

Source: Dao 2023 (FlashAttention-2), Shah et al. 2024 (FlashAttention-3), Dao et al. 2023 (Flash-Decoding).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aisys.cost.gpu import limit, lookup
from aisys.cost.gpu.matmul import together, widening
from aisys.cost.gpu.timing import Floats, KernelTiming, Names, by_name, bytes_per_element
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.machine import Device, Gpu

LONGEST_DECODE = 8
"""Most new tokens per sequence that run as decode. Source: assumed; speculative decoding checks up to about 8."""

EXP_PER_CLOCK_PER_SM = 16
"""Exponentials per clock of one multiprocessor. Source: CUDA C++ programming guide, throughput of special functions."""

FIELDS = (
    "compute_efficiency", "exp_efficiency", "memory_efficiency", "l2_bytes_per_clock_per_sm", "cached_share",
    "tile_q", "tile_k", "max_group", "max_splits", "block_s", "block_single_s", "block_row_s", "block_bytes_per_clock",
    "tail", "launch_s", "single_s", "page_s", "token_s", "append_efficiency", "query_copies", "transpose_s",
    "combine_s", "overlap_loss", "retained_share", "error_low", "error_high",
)  # fmt: skip

_APART = 10.0
"""Distance in `features` between rows that have nothing in common."""

Columns = dict[str, Floats]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kernel:
    """One fused kernel per row, arrays [rows]: seconds of its blocks, its memory, the kernels around it; its size."""

    compute_s: Floats
    memory_s: Floats
    around_s: Floats
    pairs: Floats
    chip_bytes: Floats
    blocks: Floats


def time(table: OpTable, device: Device) -> KernelTiming:
    """Time and traffic of every attention op of `table`."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    names, is_decode = _variants(table)
    c, keys = lookup.constants(gpu, names, FIELDS, _chain)
    s = _columns(table, gpu)
    if is_decode.all():
        kernel = _decode(s, c, device)
    elif not is_decode.any():
        kernel = _prefill(s, c, device)
    else:
        kernel = _choose(is_decode, _decode(s, c, device), _prefill(s, c, device))
    appended = _appended_bytes(s, c)
    append_s = c["page_s"] + c["token_s"] * s["batch"] * s["q_len"]
    append_s = append_s + appended / (_bandwidth(device) * c["append_efficiency"])
    busy = together(kernel.compute_s, kernel.memory_s, c["overlap_loss"])
    total = c["launch_s"] + busy + kernel.around_s + np.where(s["page_size"] > 0, append_s, 0.0)
    work = np.where(kernel.compute_s > kernel.memory_s, "compute", "memory")
    least, power = limit.work(table), widening(device)
    return KernelTiming(
        time_s=total, flop=2 * kernel.pairs * s["matmul_width"], math=table["math"], chip_bytes=kernel.chip_bytes,
        dram_bytes=least.read_bytes + least.write_bytes + np.where(s["page_size"] > 0, appended, 0.0),
        bound=np.where(busy < total / 2, "launch", work), error_low=c["error_low"] ** power,
        error_high=c["error_high"] ** power, keys=keys, counts=FrozenMap({"blocks": kernel.blocks}),
    )  # fmt: skip


def variants(table: OpTable) -> Names:
    """The family of kernels of every row: decode.bf16.fp8 is a phase, the multiplier's and the cache's format.

    Kernels for fp16 are those for bf16.
    """
    return np.char.replace(_variants(table)[0], "fp16", "bf16")


def features(table: OpTable, gpu: Gpu) -> Floats:
    """What residuals are learned over [rows, 8]: log2 of the extents, and which masks and pages there are."""
    names = ("batch", "q_len", "kv_len", "q_heads", "kv_heads", "head_dim", "value_dim")
    windowed, paged = table["window"] > 0, table["page_size"] > 0
    unlike = _APART * (windowed + 2.0 * ~table["is_causal"] + 4.0 * paged)
    return np.stack([*(np.log2(table[name].astype(float)) for name in names), unlike], axis=1)


def residual_lengths(variant: str) -> Floats:
    """Distances of `features` over which errors are alike, chosen on unseen rows; no row tells of head widths."""
    if variant.startswith("decode"):
        return np.array([1.0, 1.0, 1.5, 4.0, 0.7, 0.5, 0.5, 1.0])
    return np.array([2.5, 2.5, 2.5, 2.0, 1.5, 0.5, 0.5, 1.0])


def _variants(table: OpTable) -> tuple[Names, NDArray[np.bool_]]:
    """The family of kernels of every row (decode.fp8, prefill.bf16, backward.bf16, ...), and which rows decode."""
    is_decode = (table["q_len"] <= LONGEST_DECODE) & (table["kv_len"] > 1) & ~table["is_backward"]
    phase = np.where(table["is_backward"], "backward", np.where(is_decode, "decode", "prefill"))
    family = np.char.add(np.char.add(phase, "."), table["math"])
    return np.char.add(np.char.add(family, "."), table["kv_dtype"]), is_decode


def _chain(variant: str, field: str) -> tuple[str, ...]:
    phase, math, kv = variant.split(".")
    return (
        f"attention.{phase}.{math}.{field}", f"attention.{phase}.{kv}_kv.{field}", f"attention.{phase}.{field}",
        f"attention.{field}",
    )  # fmt: skip


def _columns(table: OpTable, gpu: Gpu) -> Columns:
    names = ("batch", "q_len", "kv_len", "q_heads", "kv_heads", "head_dim", "value_dim", "page_size")
    s = {name: table[name].astype(float) for name in names}
    s["window"] = np.where(table["window"] > 0, table["window"], np.inf)
    s["is_causal"] = table["is_causal"]
    s["is_latent"] = limit.is_latent(table)
    s["kv_width"] = s["head_dim"] + np.where(s["is_latent"], 0.0, s["value_dim"])
    backward = table["is_backward"]
    s["matmul_width"] = (s["head_dim"] + s["value_dim"]) * np.where(backward, 2.5, 1.0)
    s["q_bytes"], s["kv_bytes"] = bytes_per_element(table["q_dtype"]), bytes_per_element(table["kv_dtype"])
    s["peak"] = by_name(table["math"], lambda math: limit.peak_flop_per_s(gpu, math))
    return s


def _prefill(s: Columns, c: Columns, device: Device) -> Kernel:
    """Blocks of tile_q queries of one head, or of all heads of a group where that makes fewer blocks.

    The heads of a group run one after the other over the whole batch, so they share a read of their keys only where
    the keys of one head fit in the shared cache.
    """
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    group = s["q_heads"] / s["kv_heads"]
    packed = np.ceil(s["q_len"] * group / c["tile_q"]) * s["kv_heads"]
    single = np.ceil(s["q_len"] / c["tile_q"]) * s["q_heads"]
    packs = (packed < single) & (group <= c["max_group"])
    heads = np.where(packs, s["kv_heads"], s["q_heads"])
    tiles = np.where(packs, packed, single) / heads
    step = c["tile_q"] / np.where(packs, group, 1.0)
    before = s["kv_len"] - s["q_len"]
    diagonal = tiles * before + step * tiles * (tiles + 1) / 2 - np.maximum(tiles * step - s["q_len"], 0)
    keys = np.where(s["is_causal"], diagonal + tiles * c["tile_k"] / 2, np.inf)
    most = np.ceil(np.minimum(s["kv_len"], s["window"] + step) / c["tile_k"]) * c["tile_k"]
    keys = np.clip(keys, tiles * c["tile_k"], tiles * most)
    blocks = s["batch"] * heads * tiles
    pairs = s["batch"] * heads * keys * c["tile_q"]
    pair_s = _pair_s(s, c, gpu)
    longest = most * c["tile_q"] * pair_s + c["block_s"]
    spread = (pairs * pair_s + blocks * c["block_s"]) / gpu.num_sm
    width = s["kv_width"] * s["kv_bytes"]
    chip = s["batch"] * heads * keys * width
    one_head = s["batch"] * s["kv_len"] * width
    apart = np.clip((one_head / gpu.l2_bytes - 0.75) / 0.75, 0.0, 1.0) * one_head * (heads - s["kv_heads"])
    return Kernel(
        compute_s=np.maximum(longest, spread + c["tail"] * longest), memory_s=_memory_s(s, c, chip, device, apart),
        around_s=np.zeros(len(pairs)), pairs=pairs, chip_bytes=chip, blocks=blocks,
    )  # fmt: skip


def _decode(s: Columns, c: Columns, device: Device) -> Kernel:
    """One tile per key head (per query head beyond max_group); keys split until the multiprocessors are filled."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    group = s["q_heads"] / s["kv_heads"]
    shares = (group > 1) & np.logical_or(group <= c["max_group"], s["is_latent"])
    heads = np.where(shares, s["kv_heads"], s["q_heads"])
    rows = s["q_len"] * s["q_heads"] / heads
    units = s["batch"] * heads * np.ceil(rows / c["tile_q"])
    seen = np.minimum(s["kv_len"], s["window"])
    key_tiles = np.ceil(seen / c["tile_k"])
    splits = np.clip(np.floor(gpu.num_sm / units), 1, np.minimum(key_tiles, c["max_splits"]))
    blocks = units * splits
    keys = np.minimum(np.ceil(key_tiles / splits) * c["tile_k"], seen)
    width = s["kv_width"] * s["kv_bytes"]
    multiply_s = c["tile_q"] * _pair_s(s, c, gpu)
    alone_s = np.maximum(multiply_s, width / (c["block_bytes_per_clock"] * gpu.clock_hz))
    shared_s = np.maximum(multiply_s, width / (c["l2_bytes_per_clock_per_sm"] * gpu.clock_hz))
    start = np.where(shares, c["block_s"], c["block_single_s"]) + rows * c["block_row_s"]
    chip = units * seen * width
    around = np.where(splits > 1, c["combine_s"], 0.0) + np.where(shares, 0.0, c["single_s"])
    return Kernel(
        compute_s=np.maximum(start + keys * alone_s, blocks / gpu.num_sm * (start + keys * shared_s)),
        memory_s=_memory_s(s, c, chip, device),
        around_s=around + _transpose_s(s, c, shares, device),
        pairs=units * seen * c["tile_q"], chip_bytes=chip, blocks=blocks,
    )  # fmt: skip


def _transpose_s(s: Columns, c: Columns, shares: NDArray[np.bool_], device: Device) -> Floats:
    """Kernels that put the queries of a group side by side; one sequence or one key head needs none."""
    moved = 2 * s["batch"] * s["q_len"] * s["q_heads"] * (s["head_dim"] + s["value_dim"]) * s["q_bytes"]
    needed = shares & (s["batch"] > 1) & (s["kv_heads"] > 1) & (c["transpose_s"] > 0)
    return np.where(needed, c["transpose_s"] + moved / (_bandwidth(device) * c["append_efficiency"]), 0.0)


def _pair_s(s: Columns, c: Columns, gpu: Gpu) -> Floats:
    """Seconds of one query-key pair on one multiprocessor: multiplications, then the exponential."""
    multiply = 2 * s["matmul_width"] * gpu.num_sm / (s["peak"] * c["compute_efficiency"])
    return np.asarray(multiply + 1 / (EXP_PER_CLOCK_PER_SM * gpu.clock_hz * c["exp_efficiency"]))


def _memory_s(s: Columns, c: Columns, chip_bytes: Floats, device: Device, again: Floats | float = 0.0) -> Floats:
    """Main memory moves what the shared cache does not hold, and `again`; the cache moves all that the blocks read."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    kv = s["batch"] * np.minimum(s["kv_len"], s["window"] + s["q_len"]) * s["kv_heads"] * s["kv_bytes"]
    moved = kv * s["kv_width"]
    moved = moved + s["batch"] * s["q_len"] * s["q_heads"] * s["q_bytes"] * (s["head_dim"] + s["value_dim"])
    cached = np.clip(2 - moved / (c["cached_share"] * gpu.l2_bytes), c["retained_share"] * gpu.l2_bytes / moved, 1.0)
    dram = (moved * (1 - cached) + again) / (_bandwidth(device) * c["memory_efficiency"])
    return np.asarray(np.maximum(dram, chip_bytes / (c["l2_bytes_per_clock_per_sm"] * gpu.clock_hz * gpu.num_sm)))


def _appended_bytes(s: Columns, c: Columns) -> Floats:
    """Bytes that a serving stack moves around the kernel: new keys and values into pages, queries rotated or scaled."""
    new = s["batch"] * s["q_len"]
    kv = s["kv_heads"] * s["kv_width"] * (s["q_bytes"] + s["kv_bytes"])
    return new * (kv + 2 * c["query_copies"] * s["q_heads"] * s["head_dim"] * s["q_bytes"])


def _bandwidth(device: Device) -> float:
    return float(device.main_memory.bandwidth_bytes_per_s)


def _choose(first: NDArray[np.bool_], a: Kernel, b: Kernel) -> Kernel:
    return Kernel(**{name: np.where(first, getattr(a, name), getattr(b, name)) for name in Kernel.__slots__})
