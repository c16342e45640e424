"""Collectives really executed: the sends of an algorithm move and add numpy arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from aisys.collective.types import Algorithm, Ints, Send
from aisys.errors import BadInput, unknown_name

Buffer = NDArray[np.generic]
Parts = list[list[Buffer | None]]


@dataclass(frozen=True, slots=True, eq=False)
class Executed:
    """What every rank holds at the end, and the bytes that each has sent."""

    buffers: tuple[Buffer, ...]
    sent_bytes: Ints


def execute(algorithm: Algorithm, buffers: Sequence[Buffer]) -> Executed:
    """Run `algorithm` on one buffer per rank; the buffers are left as they are.

    all_reduce: equal buffers in, their sum at each rank. reduce_scatter: each rank's part of the sum. all_gather: the
    ranks' buffers one after another. all_to_all: part d of every rank's buffer at rank d. broadcast, send_recv: the
    buffer of rank 0 at all ranks, or at rank 1. Raises BadInput for buffers that do not fit the op.
    """
    num_ranks = len(buffers)
    _check(algorithm.op, buffers)
    num_chunks = algorithm.num_chunks(num_ranks)
    switch: list[Buffer | None] = [None] * num_chunks
    parts = [*_parts(algorithm.op, buffers, num_chunks), switch]
    sent = np.zeros(num_ranks, np.int64)
    for _, sends in groupby(sorted(algorithm.sends(num_ranks), key=lambda s: s.step), key=lambda s: s.step):
        _step(list(sends), parts, sent)
    return Executed(tuple(_results(algorithm.op, parts, buffers)), sent)


def _step(sends: list[Send], parts: Parts, sent: Ints) -> None:
    """All sends of one step leave with what their sources held before it."""
    moving = [(send, parts[send.src][send.chunk]) for send in sends]
    for send, moved in moving:
        if moved is None:
            raise BadInput(f"step {send.step}: rank {send.src} sends chunk {send.chunk}, which it does not hold")
        if send.src < len(sent):
            sent[send.src] += moved.nbytes
        held = parts[send.dst][send.chunk]
        adds = send.reduce and held is not None
        parts[send.dst][send.chunk] = np.add(held, moved) if adds else moved  # type: ignore[arg-type]  # held is an array


def _check(op: str, buffers: Sequence[Buffer]) -> None:
    if not buffers:
        raise BadInput("collective: there are no buffers; give one for each rank")
    first = buffers[0]
    for rank, buffer in enumerate(buffers):
        if buffer.ndim != 1:
            raise BadInput(f"collective: the buffer of rank {rank} has {buffer.ndim} axes; give one of one axis")
        if buffer.dtype != first.dtype:
            raise BadInput(f"collective: rank {rank} holds {buffer.dtype}, rank 0 {first.dtype}; give one dtype")
        if op in ("all_reduce", "reduce_scatter") and len(buffer) != len(first):
            raise BadInput(f"collective: rank {rank} holds {len(buffer)} elements, rank 0 {len(first)}; give equals")


def _parts(op: str, buffers: Sequence[Buffer], num_chunks: int) -> Parts:
    """parts[rank][chunk] at the start."""
    num_ranks = len(buffers)
    if op in ("all_reduce", "reduce_scatter"):
        return [list(np.array_split(buffer, num_chunks)) for buffer in buffers]
    parts: Parts = [[None] * num_chunks for _ in range(num_ranks)]
    per_rank = num_chunks // num_ranks
    for rank, buffer in enumerate(buffers):
        if op in ("all_gather", "all_to_all"):
            parts[rank][rank * per_rank : (rank + 1) * per_rank] = np.array_split(buffer, per_rank)
        elif op not in ("broadcast", "send_recv"):
            raise unknown_name("collective", op, ("all_reduce", "all_gather", "reduce_scatter", "all_to_all"))
        elif rank == 0:
            parts[0] = list(np.array_split(buffer, num_chunks))
    return parts


def _results(op: str, parts: Parts, buffers: Sequence[Buffer]) -> list[Buffer]:
    num_ranks, num_chunks = len(buffers), len(parts[0])
    out: list[Buffer] = []
    for rank in range(num_ranks):
        chunks = range(num_chunks)
        if op == "reduce_scatter":
            chunks = range(rank * num_chunks // num_ranks, (rank + 1) * num_chunks // num_ranks)
        held = [parts[rank][c] for c in chunks]
        if op == "all_to_all":
            each = num_chunks // num_ranks**2
            held = [parts[rank][(s * num_ranks + rank) * each + k] for s in range(num_ranks) for k in range(each)]
        whole = [part for part in held if part is not None]
        out.append(buffers[rank].copy() if op == "send_recv" and rank != 1 else np.concatenate(whole))
    return out
