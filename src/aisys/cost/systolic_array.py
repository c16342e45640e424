"""Systolic arrays: exact cycles and buffer accesses of a rigid grid, and what the main memory adds.

Source: the closed forms of SCALE-Sim (Samajdar et al. 2020; Raj et al. 2025, version 3) for stall-free runs, whose
"Total Cycles" is the number of the last cycle, one below the count here. Each fold fills, streams and drains by
itself, so an array that preloads the next weights during a fold is faster on few rows. Not modelled: stalls inside a
fold, softmax inside attention, and the vector unit beside the array.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aisys.cost.gpu import limit
from aisys.cost.gpu.timing import Floats, bytes_per_element
from aisys.cost.types import CostTable, Tier
from aisys.errors import Unsupported, unknown_name
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.machine import Device, Memory, SystolicArray

Ints = NDArray[np.int64]

DATAFLOWS = ("ws", "os", "is")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matmuls:
    """`batch` independent products [m,k] x [k,n] per row of an op table: int arrays [rows], bytes per element.

    a_elements: distinct elements of all left operands, where windows repeat them; None: batch * m * k.
    """

    batch: Ints
    m: Ints
    n: Ints
    k: Ints
    a_bytes: Floats
    b_bytes: Floats
    out_bytes: Floats
    a_elements: Floats | None = None

    @property
    def macs(self) -> Floats:
        """Multiply-accumulates of each row."""
        return np.asarray(self.batch.astype(float) * self.m * self.n * self.k)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """What the grid does with each row. Accesses in elements; ofmap writes of ws and is are partial sums."""

    cycles: Floats
    folds: Floats
    ifmap_reads: Floats
    filter_reads: Floats
    ofmap_writes: Floats
    mapping_efficiency: Floats


def price(table: OpTable, device: Device, *, tier: Tier = "analytic") -> CostTable:
    """Time, energy, traffic and buffer accesses of every row of `table` on systolic array `device`.

    Raises Unsupported for an op kind without a mapping to the grid.
    """
    array = device.architecture
    assert isinstance(array, SystolicArray)
    if table.kind == "stream":
        return _stream(table, device)
    if table.kind not in _MATMULS:
        raise Unsupported(
            f"a systolic array has no cost model for op kind {table.kind!r}; it has {', '.join((*_MATMULS, 'stream'))}"
        )
    least = limit.work(table)
    compulsory = least.read_bytes + least.write_bytes
    parts = _MATMULS[table.kind](table)
    if tier == "limit":
        peak = float(array.rows * array.cols * array.num_arrays)
        return _table(device, least.flop / 2 / peak, compulsory, least.flop / 2, compulsory, {})
    done = [(part, run(part, array)) for part in parts]
    buffer = _buffer(device)
    moved = np.asarray(sum(_memory_bytes(part, r, array, buffer) for part, r in done))
    buffered = np.asarray(sum(_buffer_bytes(part, r) for part, r in done))
    counts = _counts([r for _, r in done])
    macs = np.asarray(sum(part.macs for part in parts))
    return _table(device, counts["cycles"], np.maximum(moved, compulsory), macs, buffered, counts)


def run(work: Matmuls, array: SystolicArray) -> Run:
    """Cycles and buffer accesses of each product on the grid; folds of one row spread over all arrays.

    Raises UnknownName for a dataflow other than ws, os and is.
    """
    if array.dataflow not in DATAFLOWS:
        raise unknown_name("dataflow", array.dataflow, DATAFLOWS)
    m, n, k, batch = work.m, work.n, work.k, work.batch
    rows, cols = int(array.rows), int(array.cols)
    over_rows, over_cols, streamed = {"ws": (k, n, m), "os": (m, n, k), "is": (k, m, n)}[array.dataflow]
    row_folds, col_folds = _ceil_div(over_rows, rows), _ceil_div(over_cols, cols)
    fill = rows if array.dataflow == "os" else 2 * rows
    folds = (batch * row_folds * col_folds).astype(float)
    mk, kn, mn = (batch.astype(float) * x for x in (m * k, k * n, m * n))
    reads = {
        "ws": (mk * col_folds, kn, mn * row_folds),
        "os": (mk * col_folds, kn * row_folds, mn),
        "is": (mk, kn * col_folds, mn * row_folds),
    }[array.dataflow]
    return Run(
        cycles=np.ceil(folds / float(array.num_arrays)) * (streamed + fill + cols - 2),
        folds=folds,
        ifmap_reads=reads[0],
        filter_reads=reads[1],
        ofmap_writes=reads[2],
        mapping_efficiency=over_rows * over_cols / (row_folds * rows * col_folds * cols),
    )


def _ceil_div(extent: Ints, parts: int) -> Ints:
    return -(-extent // parts)


def _memory_bytes(work: Matmuls, done: Run, array: SystolicArray, buffer: Memory) -> Floats:
    """Main-memory bytes: an operand that fits a third of the buffer moves once, else as often as the grid asks.

    Of partial sums only those of one column of folds must fit, as its folds follow one another.
    """
    share = float(buffer.capacity_bytes) / 3
    column = np.minimum(work.m if array.dataflow == "is" else work.n, int(array.cols))
    total = np.zeros(len(work.m))
    a = work.batch.astype(float) * work.m * work.k if work.a_elements is None else work.a_elements
    b, out = (work.batch.astype(float) * x for x in (work.k * work.n, work.m * work.n))
    out_kept = column * (work.n if array.dataflow == "is" else work.m)
    for once, kept, width, accesses, is_output in (
        (a, a / work.batch, work.a_bytes, done.ifmap_reads, False),
        (b, work.k * work.n, work.b_bytes, done.filter_reads, False),
        (out, out_kept, work.out_bytes, done.ofmap_writes, True),
    ):
        spilled = 2 * accesses - once if is_output else accesses
        total += width * np.where(kept * width <= share, once, spilled)
    return total


def _buffer_bytes(work: Matmuls, done: Run) -> Floats:
    once = work.batch.astype(float) * work.m * work.n
    outputs = work.out_bytes * (2 * done.ofmap_writes - once)
    return np.asarray(work.a_bytes * done.ifmap_reads + work.b_bytes * done.filter_reads + outputs)


def _buffer(device: Device) -> Memory:
    return next(iter(device.memories.values()))


def _counts(runs: list[Run]) -> dict[str, Floats]:
    total = {
        name: np.asarray(sum(getattr(r, name) for r in runs))
        for name in ("cycles", "folds", "ifmap_reads", "filter_reads", "ofmap_writes")
    }
    efficiency = sum(r.mapping_efficiency * r.folds for r in runs) / total["folds"]
    return {**total, "mapping_efficiency": np.asarray(efficiency)}


def _table(
    device: Device, cycles: Floats, moved: Floats, macs: Floats, buffered: Floats, counts: dict[str, Floats]
) -> CostTable:
    array = device.architecture
    assert isinstance(array, SystolicArray)
    main, buffer = device.main_memory, _buffer(device)
    compute, memory = cycles / float(array.clock_hz), moved / float(main.bandwidth_bytes_per_s)
    time = np.maximum(compute, memory)
    energy = (
        macs * float(array.energy_joule_per_mac)
        + buffered * float(buffer.energy_joule_per_byte)
        + moved * float(main.energy_joule_per_byte)
        + time * float(device.idle_watt)
    )
    read = (
        array.rows, array.cols, array.num_arrays, array.clock_hz, array.energy_joule_per_mac, device.idle_watt,
        main.bandwidth_bytes_per_s, main.energy_joule_per_byte, buffer.capacity_bytes, buffer.energy_joule_per_byte,
    )  # fmt: skip
    nowhere = np.full(len(time), np.nan)
    return CostTable(
        time_s=time, energy_joule=energy, traffic_bytes=FrozenMap({buffer.name: buffered, main.name: moved}),
        bound=np.where(compute >= memory, "compute", "memory"), error_low=nowhere, error_high=nowhere,
        counts=FrozenMap(counts), keys=frozenset(number.key for number in read),
    )  # fmt: skip


def _stream(table: OpTable, device: Device) -> CostTable:
    none = np.zeros(len(table))
    moved = table["read_bytes"] + table["write_bytes"]
    return _table(device, none, moved, none, moved, {})


def _of_matmul(table: OpTable) -> list[Matmuls]:
    return [
        Matmuls(batch=table["batch"], m=table["m"], n=table["n"], k=table["k"], **_widths(table, "a", "b", "out"))
    ]  # fmt: skip


def _of_grouped_matmul(table: OpTable) -> list[Matmuls]:
    """Rows spread evenly over the groups that get any."""
    groups = np.minimum(table["groups"], table["m"])
    m = -(-table["m"] // groups)
    return [Matmuls(batch=groups, m=m, n=table["n"], k=table["k"], **_widths(table, "a", "b", "out"))]


def _of_conv(table: OpTable) -> list[Matmuls]:
    """The product of im2col for each group: pixels by channels out, over the channels in of one window."""
    work = Matmuls(
        batch=table["groups"], m=table["batch"] * table["out_h"] * table["out_w"], n=table["out_channels"],
        k=table["in_channels"] * table["kernel_h"] * table["kernel_w"], **_widths(table, "a", "b", "out"),
        a_elements=limit.input_elements(table),
    )  # fmt: skip
    return [work]


def _of_attention(table: OpTable) -> list[Matmuls]:
    """Scores and context of every head, masked part included; scores stay in the buffer."""
    if bool(table["is_backward"].any()):
        raise Unsupported(
            "a systolic array has no cost model for the backward of fused attention; apply technique eager_attention"
        )
    batch = table["batch"] * table["q_heads"]
    q, kv = bytes_per_element(table["q_dtype"]), bytes_per_element(table["kv_dtype"])
    shared = kv * table["kv_heads"] / table["q_heads"]
    free = np.zeros(len(table))
    scores = Matmuls(
        batch=batch, m=table["q_len"], n=table["kv_len"], k=table["head_dim"], a_bytes=q, b_bytes=shared, out_bytes=free
    )
    context = Matmuls(
        batch=batch, m=table["q_len"], n=table["value_dim"], k=table["kv_len"], a_bytes=free, b_bytes=shared,
        out_bytes=q,
    )  # fmt: skip
    return [scores, context]


def _widths(table: OpTable, *operands: str) -> dict[str, Floats]:
    return {f"{name}_bytes": bytes_per_element(table[f"{name}_dtype"]) for name in operands}


_MATMULS: dict[str, Callable[[OpTable], list[Matmuls]]] = {
    "matmul": _of_matmul,
    "grouped_matmul": _of_grouped_matmul,
    "conv": _of_conv,
    "attention": _of_attention,
}
