"""What a chip takes whose weights are double-buffered: folds follow one another without a drain in between.

A fold streams its rows of activations while the next weights move in, so it takes the longer of the two and a few
cycles. Operands that fit the vector memory are fetched before the product starts, so that fetching and computing add
up but for a share; larger ones stream through, and the longer of the two binds, softly. In a compiled program,
activations pass from op to op inside the vector memory as far as they fit; weights and cached keys come from main
memory.

Source: Jouppi et al. 2017, 2023 (weight double buffering, unified buffer, TPU v4); Austin et al. 2025 (How to Scale
Your Model). Constants: scripts/fit_tpu.py. Holds for one chip and compiled programs (XLA). Not modelled: the
transposes and copies that a compiler adds, and the vector unit but for softmax.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aisys.cost.gpu import limit
from aisys.cost.gpu.timing import Floats, Names, bytes_per_element
from aisys.cost.systolic_array.products import Matmuls, ceil_div, products
from aisys.errors import Unsupported
from aisys.ir import OpTable
from aisys.machine import Device, Memory, SystolicArray
from aisys.units import Sourced

SUBLANES = 8
"""Rows of activations move in groups of so many. Source: Austin et al. 2025, registers of 8 x 128."""

LANES = 128
"""Columns of a register. Source: Austin et al. 2025, registers of 8 x 128."""

FIELDS = (
    "launch_s", "alone_s", "loop_s", "step_s", "compute_efficiency", "memory_efficiency", "weight_load_share",
    "fold_share", "fetch_share", "write_share", "overlap_power", "prefetch_share", "resident_share", "softmax_s",
    "attention_s", "score_s", "stream_share", "repack_passes",
)  # fmt: skip
"""What the data sheet does not say, each as constants.overlapped.NAME of the device:

launch_s, alone_s, loop_s: before each op of a program, of a program of its own, of a loop over itself. step_s: of each
array of rows along k, one after the other. compute_efficiency, memory_efficiency: sustained share of the peaks.
weight_load_share, fold_share: least cycles of a fold, and those beyond its rows, per row of the array. fetch_share,
write_share: where both operands fit `prefetch_share` of the vector memory, how much of the shorter of computing and
moving is seen, by what moves. overlap_power: of the mean that joins the two elsewhere (large: the longer binds).
resident_share: of the vector memory, for activations between ops. softmax_s: of one element; attention_s, score_s: of
each fused attention, and of one query-key pair of one head in it. stream_share: what remains of other streams, which
are computed with the products around them. repack_passes: over a product's result whose columns do not fill
registers."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moved:
    """Bytes that each row reads and writes: arrays [rows].

    far: across the main memory in any case. near: only as far as the vector memory is too small for them.
    start: the constant that says what passes before the op. is_fused: whether other ops stand around it.
    """

    far_read: Floats
    far_write: Floats
    near_read: Floats
    near_write: Floats
    start: str
    is_fused: bool = False

    @property
    def near(self) -> Floats:
        """Bytes that stay in the vector memory where they fit."""
        return self.near_read + self.near_write

    def crossing(self, room: float) -> tuple[Floats, Floats]:
        """Bytes read from and written to the main memory if `room` bytes of `near` stay."""
        held = np.divide(room, self.near, out=np.ones_like(self.near), where=self.near > 0)
        spilled = np.maximum(1 - held, 0.0)
        return self.far_read + spilled * self.near_read, self.far_write + spilled * self.near_write


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Done:
    """Time, what binds it, and bytes of main memory of each row; error: factors of the 90 % interval."""

    time_s: Floats
    bound: Names
    main_bytes: Floats
    counts: dict[str, Floats]
    error: tuple[Floats, Floats]
    keys: frozenset[str]


def in_program(table: OpTable) -> Moved:
    """Inside a compiled program: weights and cached keys and values come from main memory, activations pass."""
    least = limit.work(table)
    far = np.asarray(_FAR[table.kind](table))
    return Moved(
        far_read=far, far_write=np.zeros(len(table)), near_read=least.read_bytes - far,
        near_write=least.write_bytes, start="launch_s", is_fused=True,
    )  # fmt: skip


def alone(table: OpTable) -> Moved:
    """A program of one op: everything comes from main memory and goes back."""
    least, none = limit.work(table), np.zeros(len(table))
    return Moved(
        far_read=least.read_bytes, far_write=least.write_bytes, near_read=none, near_write=none, start="alone_s"
    )


def in_loop(table: OpTable) -> Moved:
    """One op over and over on the same operands, which stay; results go to main memory."""
    least, none = limit.work(table), np.zeros(len(table))
    return Moved(far_read=none, far_write=least.write_bytes, near_read=none, near_write=none, start="loop_s")


def least_bytes(table: OpTable, device: Device) -> Floats:
    """Bytes that cross the main memory even if the whole vector memory holds activations."""
    moved = in_program(table)
    return moved.far_read + np.maximum(moved.near - float(_vector_memory(device).capacity_bytes), 0.0)


def time(table: OpTable, moved: Moved, device: Device) -> Done:
    """The time of every row, with its bytes placed as `moved` says."""
    parts = products(table)
    array = device.architecture
    assert isinstance(array, SystolicArray)
    c = constants(device)
    capacity = float(_vector_memory(device).capacity_bytes)
    read, written = moved.crossing(c["resident_share"] * capacity)
    bandwidth = float(device.main_memory.bandwidth_bytes_per_s) * float(c["memory_efficiency"])
    memory = (read + written) / bandwidth
    cycles = np.asarray(sum((_cycles(part, array, c) for part in parts), np.zeros(len(table))))
    compute = cycles / (float(array.clock_hz) * c["compute_efficiency"])
    seen = np.divide(
        c["fetch_share"] * read + c["write_share"] * written, read + written, out=np.zeros_like(memory),
        where=memory > 0,
    )  # fmt: skip
    longer, shorter = np.maximum(compute, memory), np.minimum(compute, memory)
    ratio = np.divide(shorter, longer, out=np.zeros_like(longer), where=longer > 0)
    power = c["overlap_power"]
    fits = read + moved.near_read <= c["prefetch_share"] * capacity
    together = np.where(fits, longer + seen * shorter, longer * (1 + ratio**power) ** (1 / power))
    if table.kind == "stream" and moved.is_fused:
        together = together * np.where(table["function"] == "softmax", 1.0, c["stream_share"])
    start = c[moved.start] + _serial(table, parts, array, c) + _repacking(table, moved, c) / bandwidth
    return Done(
        time_s=start + together, main_bytes=read + written, counts={"cycles": cycles},
        bound=np.where(start > together, "launch", np.where(compute >= memory, "compute", "memory")),
        error=_interval(table, moved, device), keys=frozenset(number.key for number in c.values()),
    )  # fmt: skip


def _serial(table: OpTable, parts: list[Matmuls], array: SystolicArray, c: dict[str, Sourced]) -> Floats:
    """What nothing hides: steps along k of a product, or the exponentials of attention and softmax."""
    if table.kind == "attention":
        pairs = table["batch"].astype(float) * table["q_heads"] * table["q_len"] * table["kv_len"]
        return np.asarray(c["attention_s"] + pairs * c["score_s"])
    if table.kind == "stream":
        pairs = np.where(table["function"] == "softmax", table["rows"].astype(float) * table["cols"], 0.0)
        return np.asarray(pairs * c["softmax_s"])
    return np.asarray(sum((ceil_div(p.k, int(array.rows)) for p in parts), np.zeros(len(table))) * c["step_s"])


def _repacking(table: OpTable, moved: Moved, c: dict[str, Sourced]) -> Floats:
    """Bytes that a program moves to repack the result of a product with a weight."""
    if table.kind != "matmul" or not moved.is_fused:
        return np.zeros(len(table))
    is_ragged = table["b_is_weight"] & (table["n"] % LANES > 0) & (table["n"] > LANES)
    return np.where(is_ragged, c["repack_passes"] * moved.near_write, 0.0)


def constants(device: Device) -> dict[str, Sourced]:
    """The fitted constants of `device` by field. Raises Unsupported where it lacks one."""
    array = device.architecture
    assert isinstance(array, SystolicArray)
    found = {name: array.constants.get(f"overlapped.{name}") for name in FIELDS}
    missing = [name for name, value in found.items() if value is None]
    if missing:
        raise Unsupported(
            f"{device.name} does not say its overlapped.{missing[0]}; add constants.overlapped.{missing[0]} to its "
            'file, or write timing = "exact"'
        )
    return {name: value for name, value in found.items() if value is not None}


def _cycles(part: Matmuls, array: SystolicArray, c: dict[str, Sourced]) -> Floats:
    """Cycles of all folds of weights, shared by all arrays: rows of one fold may go to several.

    A product alone fills whole arrays; independent ones share an array by blocks of registers.
    """
    used = [ceil_div(extent, LANES) * LANES for extent in (part.k, part.n)]
    whole = [
        ceil_div(extent, size) * size for extent, size in zip(used, (int(array.rows), int(array.cols)), strict=True)
    ]
    k, n = (np.where(part.batch > 1, u, w) for u, w in zip(used, whole, strict=True))
    folds = part.batch * (k / float(array.rows)) * (n / float(array.cols))
    rows = ceil_div(part.m, SUBLANES) * SUBLANES
    per_fold = np.maximum(rows, float(c["weight_load_share"] * array.rows)) + float(c["fold_share"] * array.rows)
    return np.asarray(folds * per_fold / float(array.num_arrays))


def _interval(table: OpTable, moved: Moved, device: Device) -> tuple[Floats, Floats]:
    """The 90 % interval of ops of this kind, NaN where none was measured."""
    array = device.architecture
    assert isinstance(array, SystolicArray)
    name = "loop" if moved.start == "loop_s" else table.kind
    ends = (array.constants.get(f"overlapped.{name}_error_{side}", np.nan) for side in ("low", "high"))
    low, high = (np.full(len(table), float(end)) for end in ends)
    return low, high


def _vector_memory(device: Device) -> Memory:
    return next(iter(device.memories.values()))


def _matmul_far(table: OpTable) -> Floats:
    weight = table["batch"].astype(float) * table["n"] * table["k"] * bytes_per_element(table["b_dtype"])
    return np.asarray(np.where(table["b_is_weight"], weight, 0.0))


def _grouped_far(table: OpTable) -> Floats:
    groups = limit.active_groups(table["groups"].astype(float), table["m"].astype(float))
    return np.asarray(groups * table["n"] * table["k"] * bytes_per_element(table["b_dtype"]))


def _conv_far(table: OpTable) -> Floats:
    axes = ("groups", "out_channels", "in_channels", "kernel_h", "kernel_w")
    weights = np.prod([table[name].astype(float) for name in axes], axis=0)
    return np.asarray(weights * bytes_per_element(table["b_dtype"]))


def _cached_far(table: OpTable) -> Floats:
    """All that is read but the queries, where there are more keys than queries: keys of earlier tokens."""
    least = limit.work(table)
    queries = table["batch"].astype(float) * table["q_len"] * table["q_heads"] * table["head_dim"]
    cached = least.read_bytes - queries * bytes_per_element(table["q_dtype"])
    return np.asarray(np.where(table["kv_len"] > table["q_len"], cached, 0.0))


_FAR: dict[str, Callable[[OpTable], Floats]] = {
    "matmul": _matmul_far, "grouped_matmul": _grouped_far, "conv": _conv_far, "attention": _cached_far,
    "stream": lambda table: np.zeros(len(table)),
}  # fmt: skip
