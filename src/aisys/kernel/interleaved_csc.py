"""A sparse matrix times a sparse vector on processing elements that share its rows and wait for each other in queues.

Row i belongs to element i mod num_pes, which holds its part of every column as (zeros before, value) pairs. A control
unit sends the non-zero inputs to all elements, one per cycle, and stops while any queue is full.
Source: Han et al. 2016, "EIE: Efficient Inference Engine on Compressed Deep Neural Network", sections III and IV.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aisys.errors import BadInput

NUM_PES, QUEUE_DEPTH = 64, 8
"""Source: Han et al. 2016, table III and figure 8."""
RUN_BITS, WEIGHT_BITS, POINTER_BITS = 4, 4, 16
"""Of a run of zeros, an index into the shared weights, and a column's start in one element. Source: Han et al. 2016."""


@dataclass(frozen=True, eq=False)
class InterleavedCsc:
    """Entries in order of (column, element): `runs` zeros stand before each of `values`.

    A run of more than 15 zeros is broken by an entry of value zero. starts: of every part of a column, and the end of
    the last, [columns x num_pes + 1].
    """

    num_rows: int
    num_pes: int
    values: NDArray[Any]
    runs: NDArray[np.uint8]
    starts: NDArray[np.int64]

    @property
    def num_columns(self) -> int:
        """Columns, empty ones included."""
        return (len(self.starts) - 1) // self.num_pes

    @property
    def entries(self) -> NDArray[np.int64]:
        """Entries by (column, element), those of value zero included."""
        return np.diff(self.starts).reshape(self.num_columns, self.num_pes)

    @property
    def num_bits(self) -> int:
        """What all elements store: entries, and one pointer per column and end."""
        return len(self.values) * (RUN_BITS + WEIGHT_BITS) + self.num_pes * (self.num_columns + 1) * POINTER_BITS


@dataclass(frozen=True, eq=False)
class Product:
    """outputs: [rows]. cycles: until the last element is done. busy_cycles: by element, of entries alone."""

    outputs: NDArray[Any]
    cycles: int
    busy_cycles: NDArray[np.int64]

    @property
    def balance(self) -> float:
        """Mean share of the cycles in which an element multiplies, padding included."""
        return float(self.busy_cycles.mean() / self.cycles) if self.cycles else 1.0


def encode(matrix: NDArray[Any], num_pes: int = NUM_PES) -> InterleavedCsc:
    """`matrix` (rows, columns) as the elements hold it. Raises BadInput without rows, columns or elements."""
    if matrix.ndim != 2 or not matrix.size or num_pes < 1:
        raise BadInput(f"interleaved_csc: a matrix of shape {matrix.shape} on {num_pes} elements; all must be positive")
    columns = np.ascontiguousarray(matrix.T)
    counts = np.zeros(columns.shape[0] * num_pes, np.int64)
    nothing = np.zeros(0, columns.dtype), np.zeros(0, np.uint8)
    _encode(columns, num_pes, np.zeros(1, np.int64), counts, nothing)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    out = np.zeros(starts[-1], columns.dtype), np.zeros(starts[-1], np.uint8)
    _encode(columns, num_pes, starts, counts, out)
    return InterleavedCsc(len(matrix), num_pes, out[0], out[1], starts)


def run(matrix: InterleavedCsc, vector: NDArray[Any], queue_depth: int = QUEUE_DEPTH) -> Product:
    """`matrix @ vector`, and the cycles that it takes; an entry takes one, and a part without entries one as well.

    A sent input waits in the queue of each element until the element is done with its part of that column.
    Not modelled: filling the four pipeline stages once, and reading and writing the vectors around the product.
    """
    if vector.shape != (matrix.num_columns,) or queue_depth < 1:
        raise BadInput(
            f"interleaved_csc: a vector {vector.shape} for {matrix.num_columns} columns, queues of {queue_depth}"
        )
    sent = np.flatnonzero(vector)
    entries = matrix.entries[sent]
    outputs = np.zeros(matrix.num_rows, np.result_type(matrix.values, vector, np.int64))
    _multiply((matrix.values, matrix.runs, matrix.starts), sent, vector[sent], matrix.num_pes, outputs)
    return Product(outputs, int(_finish(entries, queue_depth)), entries.sum(0))


@njit(cache=True)
def _encode(columns, num_pes, starts, counts, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Counts the entries of every part of a column, and writes them where `out` has room."""
    values, runs = out
    longest = 2**RUN_BITS - 1
    for column in range(len(columns)):
        for pe in range(num_pes):
            part = column * num_pes + pe
            found, zeros = 0, 0
            for row in range(pe, _end(columns[column], pe, num_pes), num_pes):
                value = columns[column, row]
                if value == 0 and zeros < longest:
                    zeros += 1
                    continue
                if len(values):
                    values[starts[part] + found] = value
                    runs[starts[part] + found] = zeros
                found, zeros = found + 1, 0
            counts[part] = found


@njit(cache=True)
def _end(column, pe, step):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Behind the last non-zero of element `pe`: zeros after it are not stored."""
    last = pe - step
    for row in range(pe, len(column), step):
        if column[row] != 0:
            last = row
    return last + 1


@njit(cache=True)
def _multiply(parts, sent, inputs, num_pes, outputs):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Adds each stored value times its input to the row that the runs lead to."""
    values, runs, starts = parts
    for i in range(len(sent)):
        for pe in range(num_pes):
            row = pe - num_pes
            for entry in range(starts[sent[i] * num_pes + pe], starts[sent[i] * num_pes + pe + 1]):
                row += (runs[entry] + 1) * num_pes
                outputs[row] += values[entry] * inputs[i]


@njit(cache=True)
def _finish(entries, queue_depth):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The cycle after the last: an input is sent once all are done with the one `queue_depth` before it."""
    num_sent, num_pes = entries.shape
    done = np.zeros(num_pes, np.int64)
    all_done = np.zeros(num_sent, np.int64)
    sent = -1
    for i in range(num_sent):
        sent += 1
        if i >= queue_depth:
            sent = max(sent, all_done[i - queue_depth])
        for pe in range(num_pes):
            done[pe] = max(done[pe], sent) + max(1, entries[i, pe])
            all_done[i] = max(all_done[i], done[pe])
    return done.max() if num_sent else 0
