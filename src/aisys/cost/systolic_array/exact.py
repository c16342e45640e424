"""The exact cycles and buffer accesses of a rigid grid, and what the main memory adds.

Source: the closed forms of SCALE-Sim (Samajdar et al. 2020; Raj et al. 2025, version 3) for stall-free runs, whose
"Total Cycles" is the number of the last cycle, one below the count here. Each fold fills, streams and drains by
itself. Not modelled: stalls inside a fold, softmax inside attention, and the vector unit beside the array.
"""

from dataclasses import dataclass

import numpy as np

from aisys.cost.gpu import limit
from aisys.cost.gpu.timing import Floats
from aisys.cost.systolic_array.products import Ints, Matmuls, ceil_div, products
from aisys.errors import Unsupported, unknown_name
from aisys.ir import OpTable
from aisys.machine import Memory, SystolicArray

DATAFLOWS = ("ws", "os", "is")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grids:
    """Grids of many sizes at once: `rows` and `cols` broadcast against the rows of an op table."""

    rows: Ints
    cols: Ints
    num_arrays: float = 1.0
    dataflow: str = "ws"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """What the grid does with each row. Accesses in elements; ofmap writes of ws and is are partial sums."""

    cycles: Floats
    folds: Floats
    ifmap_reads: Floats
    filter_reads: Floats
    ofmap_writes: Floats
    mapping_efficiency: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TableRun:
    """What each row of an op table takes on the grid and moves."""

    cycles: Floats
    main_bytes: Floats
    buffer_bytes: Floats
    macs: Floats
    counts: dict[str, Floats]


def run_table(table: OpTable, array: SystolicArray | Grids, buffer: Memory) -> TableRun:
    """All products of each row, one after the other; at least its distinct bytes cross the main memory."""
    least = limit.work(table)
    moved = buffered = compulsory = least.read_bytes + least.write_bytes
    macs = cycles = np.zeros(len(table))
    counted: dict[str, Floats] = {}
    if parts := products(table):
        runs = [(part, run(part, array)) for part in parts]
        moved = np.asarray(sum(memory_bytes(part, r, array, buffer) for part, r in runs))
        buffered = np.asarray(sum(buffer_bytes(part, r) for part, r in runs))
        counted = counts([r for _, r in runs])
        macs, cycles = np.asarray(sum(part.macs for part in parts)), counted["cycles"]
    return TableRun(
        cycles=cycles, main_bytes=np.maximum(moved, compulsory), buffer_bytes=buffered, macs=macs, counts=counted
    )


def run(work: Matmuls, array: SystolicArray | Grids) -> Run:
    """Cycles and buffer accesses of each product on the grid; folds of one row spread over all arrays.

    Weights of which all columns keep n of every m leave out the same rows: k shrinks, and each input goes to the m / n
    rows that may need it. Raises UnknownName for a dataflow other than ws, os and is; Unsupported for weights of N:M
    that do not stay in place.
    """
    if array.dataflow not in DATAFLOWS:
        raise unknown_name("dataflow", array.dataflow, DATAFLOWS)
    if array.dataflow != "ws" and bool(np.any(np.asarray(work.of) > 1)):
        raise Unsupported(f"N:M weights stay in place; dataflow {array.dataflow!r} has no such run, use 'ws'")
    m, n, k, batch = work.m, work.n, work.kept_k, work.batch
    rows, cols = np.asarray(array.rows, np.int64), np.asarray(array.cols, np.int64)
    over_rows, over_cols, streamed = {"ws": (k, n, m), "os": (m, n, k), "is": (k, m, n)}[array.dataflow]
    row_folds, col_folds = ceil_div(over_rows, rows), ceil_div(over_cols, cols)
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
        ifmap_reads=reads[0] * work.of / work.kept,
        filter_reads=reads[1],
        ofmap_writes=reads[2],
        mapping_efficiency=over_rows * over_cols / (row_folds * rows * col_folds * cols),
    )


def memory_bytes(work: Matmuls, done: Run, array: SystolicArray | Grids, buffer: Memory) -> Floats:
    """Main-memory bytes: an operand that fits a third of the buffer moves once, else as often as the grid asks.

    Weights of N:M count with their places: b_bytes are of one element, stored or not.

    Of partial sums only those of one column of folds must fit, as its folds follow one another.
    """
    share = float(buffer.capacity_bytes) / 3
    column = np.minimum(work.m if array.dataflow == "is" else work.n, np.asarray(array.cols, np.int64))
    total = np.zeros(done.cycles.shape)
    a = work.batch.astype(float) * work.m * work.k if work.a_elements is None else work.a_elements
    b, out = (work.batch.astype(float) * x for x in (work.k * work.n, work.m * work.n))
    out_kept = column * (work.n if array.dataflow == "is" else work.m)
    for once, kept, width, accesses, is_output in (
        (a, a / work.batch, work.a_bytes, done.ifmap_reads, False),
        (b, work.k * work.n, work.b_bytes, done.filter_reads * work.of / work.kept, False),
        (out, out_kept, work.out_bytes, done.ofmap_writes, True),
    ):
        spilled = 2 * accesses - once if is_output else accesses
        total += width * np.where(kept * width <= share, once, spilled)
    return total


def buffer_bytes(work: Matmuls, done: Run) -> Floats:
    """Bytes through the buffer: operands, and partial sums written and read back."""
    once = work.batch.astype(float) * work.m * work.n
    outputs = work.out_bytes * (2 * done.ofmap_writes - once)
    weights = work.b_bytes * done.filter_reads * work.of / work.kept
    return np.asarray(work.a_bytes * done.ifmap_reads + weights + outputs)


def counts(runs: list[Run]) -> dict[str, Floats]:
    """The accesses of several runs together."""
    total = {
        name: np.asarray(sum(getattr(r, name) for r in runs))
        for name in ("cycles", "folds", "ifmap_reads", "filter_reads", "ofmap_writes")
    }
    efficiency = sum(r.mapping_efficiency * r.folds for r in runs) / total["folds"]
    return {**total, "mapping_efficiency": np.asarray(efficiency)}
