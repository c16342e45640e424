"""How many cycles a generated array takes for a matmul: a recurrence that equals the circuit, cycle for cycle.

Cycle 0 is the one in which `start` is seen; the count ends with the beat that the memory port accepts last. Four parts
run side by side, and each waits only for what the others hand over:

    loader     asks for the chunks of each step (top, left, parameters) as soon as a slot of the buffer is free
    preload    (ws) moves the weights of the next step behind those in use, once these have left
    stream     sends the vectors of a step through the array, once its operands are there
    writer     requantizes one output tile after another, and sends it to the memory

The constants below are the registers between the parts, counted in rtl/circuit. Exact for every shape and every memory
that answers as MemoryPort says; a memory with other gaps between its beats is not modelled.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.cost.generated_array.design import (
    OUT_SLOTS,
    OUTSTANDING_LOADS,
    PARAMETER_SLOTS,
    TOP_SLOTS,
    ArrayDesign,
    MemoryPort,
    tiling,
)

WRITER_STAGES = 8
"""From the cycle in which a column group is read to the one in which it stands at the memory port."""

WS_RESULT_STAGES, OS_RESULT_STAGES = 4, 3
"""Registers on the way of the last vector to the output buffer, beside those of the rows and columns."""

NEVER = -(1 << 40)
LARGE = 20_000
"""Steps from which compiling the recurrence pays."""

Ints = NDArray[np.int64]


def cycles(design: ArrayDesign, m: int, k: int, n: int, *, port: MemoryPort, is_raw: bool = False) -> int:
    """Cycles of C[m,n] = A[m,k] B[k,n] on `design` with the memory `port`; is_raw: int32 results are written.

    Raises BadInput for an extent that cannot be tiled.
    """
    cut = tiling(design, m, k, n)
    count = np.array([cut.num_m, cut.num_n, cut.num_k, cut.edge_vectors, cut.edge_rows, cut.is_resident], np.int64)
    walk = _compiled() if cut.num_m * cut.num_n * cut.num_k >= LARGE else _walk
    return int(walk(count, _timing(design, port, is_raw)))


def _timing(design: ArrayDesign, port: MemoryPort, is_raw: bool) -> Ints:
    """What `_walk` needs to know, in the order in which it takes it."""
    is_ws = design.dataflow == "ws"
    gaps = design.out_beat_groups(is_raw)
    per_row = sum(max(gap, port.cycles_per_beat) for gap in gaps)
    stages = WS_RESULT_STAGES + design.rows if is_ws else OS_RESULT_STAGES + 2 * design.rows
    return np.array([
        is_ws, design.rows, design.tile, design.left_slots, design.top_beats, design.left_beats,
        design.column_groups * design.parameter_beats, port.latency_cycles, port.cycles_per_beat,
        stages + design.cols + design.is_pipelined, design.out_slot_rows, gaps[0] + WRITER_STAGES,
        per_row, per_row - max(gaps[0], port.cycles_per_beat),
    ], np.int64)  # fmt: skip


@cache
def _compiled() -> Callable[[Ints, Ints], Any]:
    """`_walk` as machine code; numba is loaded only here."""
    import numba

    load = numba.njit(cache=True)(_load)
    source = {**globals(), "_load": load}
    walk = type(_walk)(_walk.__code__, source, _walk.__name__)
    compiled: Callable[[Ints, Ints], Any] = numba.njit(walk)
    return compiled


def _load(state: Ints, finished: Ints, free: int, num_beats: int, latency: int, per_beat: int) -> int:
    """The first cycle in which a chunk can be used. state: commands so far, the last command, the last beat.

    A command waits for the one before it (two cycles), for a `free` slot, and until few enough others are outstanding.
    """
    slot = state[0] % OUTSTANDING_LOADS
    issued = max(state[1] + 2, free, finished[slot])
    last = max(issued + latency, state[2] + per_beat) + (num_beats - 1) * per_beat
    state[0] += 1
    state[1] = issued
    state[2] = last
    finished[slot] = last + 2
    return int(last + 2)


def _walk(count: Ints, timing: Ints) -> int:
    """The cycle of the last beat. Each array of slots holds the cycle from which the slot is free again."""
    num_m, num_n, num_k, edge_vectors, edge_rows, is_resident = count
    is_ws, rows, tile, left_slots, top_beats, left_beats, parameter_beats, latency, per_beat = timing[:9]
    result_stages, out_rows, first_beat, row_beats, row_rest = timing[9:]
    state = np.array([0, 0, NEVER], np.int64)
    finished, left_free = np.zeros(OUTSTANDING_LOADS, np.int64), np.zeros(left_slots, np.int64)
    left_ready = np.zeros(left_slots, np.int64)
    top_free, out_free = np.zeros(TOP_SLOTS, np.int64), np.zeros(OUT_SLOTS, np.int64)
    parameter_ready = np.zeros(PARAMETER_SLOTS, np.int64)
    go, is_busy_until, written = 0, 1, NEVER
    step, chunk, tile_index = 0, 0, 0
    for m in range(num_m):
        for n in range(num_n):
            for k in range(num_k):
                is_edge = m == num_m - 1 if is_ws else k == num_k - 1
                vectors = edge_vectors if is_edge else tile
                top = step % TOP_SLOTS
                words = rows if is_ws else vectors
                top_ready = _load(state, finished, top_free[top], words * top_beats, latency, per_beat)
                slot = (m * num_k + k if is_resident else chunk) % left_slots
                if n == 0 or not is_resident:
                    left_ready[slot] = _load(
                        state, finished, left_free[slot], vectors * left_beats, latency, per_beat
                    )
                out = tile_index % OUT_SLOTS
                if k == 0:
                    parameter_ready[out] = _load(state, finished, out_free[out], parameter_beats, latency, per_beat)
                operands = left_ready[slot]
                if is_ws:
                    preload = max(go + 1, top_ready)
                    top_free[top] = preload + rows + 1
                    operands = max(operands, preload + rows + 1)
                else:
                    operands = max(operands, top_ready)
                if k == num_k - 1:
                    operands = max(operands, out_free[out])
                go = max(is_busy_until, operands)
                is_busy_until = go + (vectors if is_ws else max(vectors, rows))
                left_free[slot] = go + vectors + 1
                if not is_ws:
                    top_free[top] = go + vectors + 1
                step += 1
                chunk += 1
            num_rows = edge_rows if m == num_m - 1 else out_rows
            begin = max(go + vectors + result_stages, parameter_ready[out], written + 1)
            first = max(begin + first_beat, written + per_beat)
            written = first + row_rest + (num_rows - 1) * row_beats
            out_free[out] = written + 1
            tile_index += 1
    return int(written)
