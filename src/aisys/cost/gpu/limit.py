"""The data sheet's speed of light: peak flop, compulsory bytes at peak bandwidth, nothing else.

Every byte that an op must read or write moves once: from main memory, except what a streaming op or attention may find
or leave in the shared cache, which still crosses it. No tier is ever faster.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aisys.cost.gpu.timing import Floats, Names, by_name, bytes_per_element
from aisys.errors import Unsupported
from aisys.ir import OpTable
from aisys.ir.dtype import TWO_OF_FOUR
from aisys.machine import Device, Gpu

_FORMAT_OF_MATH = {"fp8_block": "fp8"}
"""Multiplier format of math names that are a format plus a way to scale it."""

_HAS_TWO_OF_FOUR = ("sm80", "sm86", "sm89", "sm90", "sm100", "sm120")

CACHE_BYTES_PER_CLOCK_PER_SM = 64
"""Most that one multiprocessor reads from the shared cache. Source: Jia et al. 2018, Luo et al. 2024."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Work:
    """What each row must at least do: arrays [rows]; math: the number format that multiplies ("" for none).

    cacheable_bytes: of the bytes, those that the op before or after may keep in the shared cache.
    """

    flop: Floats
    read_bytes: Floats
    write_bytes: Floats
    math: Names
    cacheable_bytes: Floats | float = 0.0


def work(table: OpTable) -> Work:
    """Compulsory flop and bytes of every row. Raises Unsupported for a kind without such a count."""
    if table.kind not in _WORK:
        raise Unsupported(f"a GPU has no speed of light for op kind {table.kind!r}; it has {', '.join(_WORK)}")
    return _WORK[table.kind](table)


def peak_flop_per_s(architecture: Gpu, math: str) -> float:
    """Peak of a math name in flop of the dense op, twice that of the format for 2:4; "" (nothing multiplies): no bound.

    Source: Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks". Raises Unsupported before Ampere.
    """
    if not math:
        return np.inf
    dense = math.removesuffix(TWO_OF_FOUR)
    if dense != math and architecture.generation not in _HAS_TWO_OF_FOUR:
        raise Unsupported(f"a {architecture.generation} GPU has no 2:4 tensor cores; use sm80 or later, or {dense}")
    return architecture.peak_flop_per_s(_FORMAT_OF_MATH.get(dense, dense)) * (1 if dense == math else 2)


def compute_s(work_: Work, device: Device) -> Floats:
    """Time of the multiplications at the data sheet's peak."""
    architecture = device.architecture
    assert isinstance(architecture, Gpu)
    return work_.flop / by_name(work_.math, lambda math: peak_flop_per_s(architecture, math))


def memory_s(work_: Work, device: Device) -> Floats:
    """Time of the compulsory bytes at the data sheet's bandwidth; cacheable ones fill the shared cache first."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    moved = work_.read_bytes + work_.write_bytes
    far = (moved - np.minimum(work_.cacheable_bytes, gpu.l2_bytes)) / float(device.main_memory.bandwidth_bytes_per_s)
    return np.maximum(far, moved / (CACHE_BYTES_PER_CLOCK_PER_SM * gpu.clock_hz * gpu.num_sm))


def _matmul(table: OpTable) -> Work:
    batch, m, n, k = (table[name].astype(float) for name in ("batch", "m", "n", "k"))
    return Work(
        flop=2 * batch * m * n * k,
        read_bytes=batch * k * (m * bytes_per_element(table["a_dtype"]) + n * bytes_per_element(table["b_dtype"])),
        write_bytes=batch * m * n * bytes_per_element(table["out_dtype"]),
        math=table["math"],
    )


def input_elements(table: OpTable) -> Floats:
    """Elements of the input that the windows of each conv row touch, over all groups and channels."""
    batch, groups, channels = (table[name].astype(float) for name in ("batch", "groups", "in_channels"))
    sides = [
        (table[f"out_{side}"] - 1) * np.minimum(table["stride"], table[f"kernel_{side}"]) + table[f"kernel_{side}"]
        for side in "hw"
    ]
    return np.asarray(batch * groups * channels * sides[0] * sides[1])


def _conv(table: OpTable) -> Work:
    weights = np.prod([table[name].astype(float) for name in _WEIGHT_AXES], axis=0)
    pixels = table["batch"].astype(float) * table["out_h"] * table["out_w"]
    return Work(
        flop=2 * pixels * weights,
        read_bytes=input_elements(table) * bytes_per_element(table["a_dtype"])
        + weights * bytes_per_element(table["b_dtype"]),
        write_bytes=pixels * table["groups"] * table["out_channels"] * bytes_per_element(table["out_dtype"]),
        math=table["math"],
    )


_WEIGHT_AXES = ("groups", "out_channels", "in_channels", "kernel_h", "kernel_w")


def active_groups(groups: Floats, rows: Floats) -> Floats:
    """Expected number of experts with at least one of `rows` rows that choose evenly and at random."""
    return np.asarray(groups * -np.expm1(rows * np.log1p(-1 / np.maximum(groups, 1 + 1e-12))))


def _grouped_matmul(table: OpTable) -> Work:
    groups, m, n, k = (table[name].astype(float) for name in ("groups", "m", "n", "k"))
    weights = active_groups(groups, m) * n * k * bytes_per_element(table["b_dtype"])
    return Work(
        flop=2 * m * n * k,
        read_bytes=m * k * bytes_per_element(table["a_dtype"]) + weights,
        write_bytes=m * n * bytes_per_element(table["out_dtype"]),
        math=table["math"],
    )


def scores(table: OpTable) -> Floats:
    """Query-key pairs per head of each attention row that its causal mask and window leave over."""
    q_len, kv_len = table["q_len"].astype(float), table["kv_len"].astype(float)
    window = np.where(table["window"] > 0, table["window"], np.inf)
    causal = table["is_causal"]
    seen_first = np.where(causal, np.maximum(kv_len - q_len, 0) + 1, kv_len)
    growing = np.clip(np.minimum(window, kv_len) - seen_first + 1, 0, q_len)
    growth = growing * seen_first + growing * (growing - 1) / 2 + (q_len - growing) * np.minimum(window, kv_len)
    return np.asarray(np.where(causal, growth, q_len * np.minimum(kv_len, window)), dtype=float)


def is_latent(table: OpTable) -> NDArray[np.bool_]:
    """Attention rows whose one key head is wider than its values: the values are a part of the stored keys.

    Source: DeepSeek-V2 report 2024, section 2.1 (multi-head latent attention with absorbed projections).
    """
    return np.asarray((table["kv_heads"] == 1) & (table["value_dim"] < table["head_dim"]))


def _attention(table: OpTable) -> Work:
    batch, q_len, kv_len = (table[name].astype(float) for name in ("batch", "q_len", "kv_len"))
    q_heads, kv_heads = table["q_heads"].astype(float), table["kv_heads"].astype(float)
    width = (table["head_dim"] + table["value_dim"]).astype(float)
    seen = np.where(table["window"] > 0, np.minimum(kv_len, table["window"] + q_len - 1), kv_len)
    q_bytes = batch * q_len * q_heads * bytes_per_element(table["q_dtype"])
    stored = np.where(is_latent(table), table["head_dim"], width)
    kv_bytes = batch * seen * kv_heads * stored * bytes_per_element(table["kv_dtype"])
    backward = np.where(table["is_backward"], 1.0, 0.0)
    read = q_bytes * (table["head_dim"] + 2 * backward * table["value_dim"]) + kv_bytes
    write = q_bytes * np.where(table["is_backward"], table["head_dim"], table["value_dim"]) + backward * kv_bytes
    return Work(
        flop=2 * batch * q_heads * scores(table) * width * (1 + 1.5 * backward), read_bytes=read, write_bytes=write,
        math=table["math"], cacheable_bytes=read + write,
    )  # fmt: skip


def _stream(table: OpTable) -> Work:
    read, write = table["read_bytes"].astype(float), table["write_bytes"].astype(float)
    return Work(
        flop=np.zeros(len(table)), read_bytes=read, write_bytes=write, cacheable_bytes=read + write,
        math=np.full(len(table), "", dtype=np.str_),
    )  # fmt: skip


_WORK = {
    "matmul": _matmul, "grouped_matmul": _grouped_matmul, "conv": _conv, "attention": _attention, "stream": _stream,
}  # fmt: skip
