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
from types import FunctionType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.cost.generated_array.design import (
    OUT_SLOTS,
    OUTSTANDING_LOADS,
    TOP_SLOTS,
    ArrayDesign,
    MemoryPort,
    Tiling,
    tiling,
)

WRITER_STAGES = 10
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
    walk = _compiled() if cut.num_m * cut.num_n * cut.num_k >= LARGE else _walk
    return int(walk(_counts(cut), _timing(design, port, is_raw)))


def _counts(cut: Tiling) -> Ints:
    """The tiles of one product, as the recurrence takes them."""
    return np.array([cut.num_m, cut.num_n, cut.num_k, cut.edge_vectors, cut.edge_rows, cut.is_resident], np.int64)


def _timing(design: ArrayDesign, port: MemoryPort, is_raw: bool) -> Ints:
    """What the recurrence needs to know, at the places that the names below say."""
    is_ws = design.dataflow == "ws"
    gaps = design.out_beat_groups(is_raw)
    row_beats = sum(max(gap, port.cycles_per_beat) for gap in gaps)
    stages = WS_RESULT_STAGES + design.rows if is_ws else OS_RESULT_STAGES + 2 * design.rows
    return np.array([
        is_ws, design.rows, design.tile, design.left_slots, design.top_beats, design.left_beats,
        design.column_groups * design.parameter_beats, port.latency_cycles, port.cycles_per_beat,
        stages + design.cols + design.is_pipelined, 0 if is_ws else design.rows, design.out_slot_rows,
        gaps[0] + WRITER_STAGES, row_beats, row_beats - max(gaps[0], port.cycles_per_beat),
    ], np.int64)  # fmt: skip


(
    IS_WS, ROWS, TILE, LEFT_SLOTS, TOP_BEATS, LEFT_BEATS, PARAMETER_BEATS, LATENCY, PER_BEAT, STAGES, LEAST_STEP,
    OUT_ROWS, FIRST_BEAT, ROW_BEATS, ROW_REST,
) = range(15)  # fmt: skip


@cache
def _compiled() -> Callable[[Ints, Ints], Any]:
    """`_walk` as machine code; numba is loaded only here."""
    import numba

    inner = {name: numba.njit(globals()[name], cache=True) for name in ("_load", "_write")}
    walk = FunctionType(_walk.__code__, {**globals(), **inner})
    compile_: Any = numba.njit(cache=True)
    compiled: Callable[[Ints, Ints], Any] = compile_(walk)
    return compiled


def _load(state: Ints, finished: Ints, free: int, num_beats: int, timing: Ints) -> int:
    """The first cycle in which a chunk can be used. state: commands so far, the last command, the last beat.

    A command waits for the one before it (two cycles), for a `free` slot, and until few enough others are outstanding.
    """
    latency, per_beat = timing[LATENCY], timing[PER_BEAT]
    slot = state[0] % OUTSTANDING_LOADS
    issued = max(state[1] + 2, free, finished[slot])
    last = max(issued + latency, state[2] + per_beat) + (num_beats - 1) * per_beat
    state[0] += 1
    state[1] = issued
    state[2] = last
    finished[slot] = last + 2
    return int(last + 2)


def _write(ready: int, written: int, num_rows: int, timing: Ints) -> int:
    """The cycle of the last beat of an output tile that is `ready`, after the tile before was `written`."""
    begin = max(ready, written + 1)
    first = max(begin + timing[FIRST_BEAT], written + timing[PER_BEAT])
    return int(first + timing[ROW_REST] + (num_rows - 1) * timing[ROW_BEATS])


def _walk(count: Ints, timing: Ints) -> int:
    """The cycle of the last beat. Each array of slots holds the cycle from which the slot is free or filled."""
    num_m, num_n, num_k, edge_vectors, edge_rows, is_resident = count
    is_ws, rows, left_slots = timing[IS_WS], timing[ROWS], timing[LEFT_SLOTS]
    state, finished = np.array([0, 0, NEVER], np.int64), np.zeros(OUTSTANDING_LOADS, np.int64)
    left_free, left_ready = np.zeros(left_slots, np.int64), np.zeros(left_slots, np.int64)
    top_free, out_free = np.zeros(TOP_SLOTS, np.int64), np.zeros(OUT_SLOTS, np.int64)
    go, idle, written, parameters = 0, 1, NEVER, 0
    for step in range(num_m * num_n * num_k):
        tile, k = divmod(step, num_k)
        m, n = divmod(tile, num_n)
        is_edge = m == num_m - 1 if is_ws else k == num_k - 1
        vectors = edge_vectors if is_edge else timing[TILE]
        top, out, slot = step % TOP_SLOTS, tile % OUT_SLOTS, (m * num_k + k if is_resident else step) % left_slots
        words = rows if is_ws else vectors
        top_ready = _load(state, finished, top_free[top], words * timing[TOP_BEATS], timing)
        if n == 0 or not is_resident:
            left_ready[slot] = _load(state, finished, left_free[slot], vectors * timing[LEFT_BEATS], timing)
        if k == 0:
            parameters = _load(state, finished, out_free[out], timing[PARAMETER_BEATS], timing)
        if is_ws:  # the weights move into the array first
            top_ready = max(go + 1, top_ready) + rows + 1
            top_free[top] = top_ready
        go = max(idle, top_ready, left_ready[slot], out_free[out] if k == num_k - 1 else 0)
        idle = go + max(vectors, timing[LEAST_STEP])
        left_free[slot] = go + vectors + 1
        if not is_ws:
            top_free[top] = go + vectors + 1
        if k == num_k - 1:
            num_rows = edge_rows if m == num_m - 1 else timing[OUT_ROWS]
            written = _write(max(go + vectors + timing[STAGES], parameters), written, num_rows, timing)
            out_free[out] = written + 1
    return int(written)
