"""A sparse matrix times a sparse vector on processing elements that share its rows and wait for each other in queues.

Row i belongs to element i mod num_pes, which holds its part of every column as (zeros before, value) pairs. A control
unit sends the non-zero inputs to all elements, one per cycle, and stops while any queue is full. An element has
registers for `NUM_REGISTERS` inputs and as many sums: a longer vector is read in batches, and a taller matrix is as
many products, each of which sends all inputs again.
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
NUM_REGISTERS = 64
"""Of one element, for inputs and again for sums: 4K in 64 elements. Source: Han et al. 2016, section IV."""
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


def multiply(
    matrix: NDArray[Any], vector: NDArray[Any], num_pes: int = NUM_PES, columns: NDArray[np.int64] | None = None
) -> Product:
    """`matrix @ vector` of any height and length, in batches of what the registers of the elements hold.

    columns: places of the columns in a longer vector, whose other inputs are zero and need no weights here.
    """
    high = num_pes * NUM_REGISTERS
    batch = (np.arange(len(vector)) if columns is None else columns) // high
    parts = [
        run(encode(matrix[first : first + high], num_pes), vector, batch=batch) for first in range(0, len(matrix), high)
    ]
    outputs = np.concatenate([part.outputs for part in parts])
    return Product(outputs, sum(part.cycles for part in parts), np.sum([part.busy_cycles for part in parts], axis=0))


def run(
    matrix: InterleavedCsc, vector: NDArray[Any], queue_depth: int = QUEUE_DEPTH, batch: NDArray[np.int64] | None = None
) -> Product:
    """`matrix @ vector`, and the cycles that it takes; an entry takes one, and a part without entries one as well.

    A sent input waits in the queue of each element until the element is done with its part of that column. batch: of
    each input, ascending; between two batches the elements read their registers, one input per cycle, while their
    queues run on (assumed). Not modelled: filling the four pipeline stages once, and reading the first batch and
    writing the outputs, which change roles with the registers of the next layer.
    """
    if vector.shape != (matrix.num_columns,) or queue_depth < 1:
        raise BadInput(
            f"interleaved_csc: a vector {vector.shape} for {matrix.num_columns} columns, queues of {queue_depth}"
        )
    sent = np.flatnonzero(vector)
    entries = matrix.entries[sent]
    batches = np.zeros(len(sent), np.int64) if batch is None else batch[sent]
    outputs = np.zeros(matrix.num_rows, np.result_type(matrix.values, vector, np.int64))
    _multiply((matrix.values, matrix.runs, matrix.starts), sent, vector[sent], matrix.num_pes, outputs)
    pauses = NUM_REGISTERS * np.diff(batches, prepend=0)
    return Product(outputs, int(_finish(entries, queue_depth, pauses)), entries.sum(0))


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
def _finish(entries, queue_depth, pauses):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The cycle after the last: an input is sent once all are done with the one `queue_depth` before it.

    pauses: cycles in which nothing can be sent before an input.
    """
    num_sent, num_pes = entries.shape
    done = np.zeros(num_pes, np.int64)
    all_done = np.zeros(num_sent, np.int64)
    sent = -1
    for i in range(num_sent):
        sent += 1 + pauses[i]
        if i >= queue_depth:
            sent = max(sent, all_done[i - queue_depth])
        for pe in range(num_pes):
            done[pe] = max(done[pe], sent) + max(1, entries[i, pe])
            all_done[i] = max(all_done[i], done[pe])
    return done.max() if num_sent else 0
