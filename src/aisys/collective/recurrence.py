"""The time of sends, step by step: ports are shared within a step, and each rank waits only for its own peers."""

from collections.abc import Iterable

import numpy as np

from aisys.collective.meaning import chunk_share
from aisys.collective.types import Algorithm, Floats, Ints, Send


def times_s(algorithm: Algorithm, num_ranks: int, num_bytes: float, latency_s: float, bytes_per_s: float) -> Floats:
    """When each rank is done, array [num_ranks].

    Every rank has one port of `bytes_per_s` a direction, which its sends of a step share; a switch has no limit.
    A send starts when source and destination are done with what they did before.
    """
    columns = table(algorithm.sends(num_ranks))
    chunk_s = chunk_share(algorithm.op, num_ranks, algorithm.num_chunks(num_ranks)) * num_bytes / bytes_per_s
    done = np.zeros(num_ranks + 1)
    for step in steps(columns):
        src, dst = step[1], step[2]
        ends = np.maximum(done[src], done[dst]) + latency_s + chunk_s * loads(step, num_ranks)
        np.maximum.at(done, src, ends)
        np.maximum.at(done, dst, ends)
    return done[:num_ranks]


def table(sends: Iterable[Send]) -> Ints:
    """The sends as array [step, src, dst, chunk, reduce; sends], ordered by step."""
    rows = np.array(list(sends), np.int64).reshape(-1, 5)
    return np.ascontiguousarray(rows[np.argsort(rows[:, 0], kind="stable")].T)


def steps(columns: Ints) -> list[Ints]:
    """The columns of each step, in order."""
    starts = np.flatnonzero(np.diff(columns[0])) + 1
    return [part for part in np.split(columns, starts, axis=1) if part.shape[1]]


def loads(step: Ints, num_ranks: int) -> Ints:
    """How many chunks share the busier port of each send of one step."""
    out = np.bincount(step[1], minlength=num_ranks + 1)
    into = np.bincount(step[2], minlength=num_ranks + 1)
    out[num_ranks], into[num_ranks] = 1, 1
    return np.asarray(np.maximum(out[step[1]], into[step[2]]), np.int64)
