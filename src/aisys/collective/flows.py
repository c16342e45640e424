"""The time of sends as flows: they share explicit links max-min fairly, and every end frees bandwidth for the rest."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aisys.collective.meaning import chunk_share
from aisys.collective.recurrence import table
from aisys.collective.types import Algorithm, Floats, Ints

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FlowNetwork:
    """Links with a rate each, array [links], and the links that lie between two ranks."""

    bytes_per_s: Floats
    latency_s: float
    path: Callable[[int, int], tuple[int, ...]]


def star(num_ranks: int, bytes_per_s: float, latency_s: float) -> FlowNetwork:
    """Every rank on one switch, rank `num_ranks`, without limits of its own: a link up and a link down for each."""

    def path(src: int, dst: int) -> tuple[int, ...]:
        up = (src,) if src < num_ranks else ()
        return (*up, num_ranks + dst) if dst < num_ranks else up

    return FlowNetwork(bytes_per_s=np.full(2 * num_ranks, bytes_per_s), latency_s=latency_s, path=path)


def nodes(num_ranks: int, ranks_per_node: int, rates: tuple[float, float], latency_s: float) -> FlowNetwork:
    """Nodes with a switch each, and one adapter a direction. rates: of a rank's port, and of a node's adapter."""
    num_nodes = -(-num_ranks // ranks_per_node)

    def path(src: int, dst: int) -> tuple[int, ...]:
        first, last = src // ranks_per_node, dst // ranks_per_node
        ports = (src, num_ranks + dst)
        return ports if first == last else (*ports, 2 * num_ranks + first, 2 * num_ranks + num_nodes + last)

    rate = np.concatenate([np.full(2 * num_ranks, rates[0]), np.full(2 * num_nodes, rates[1])])
    return FlowNetwork(bytes_per_s=rate, latency_s=latency_s, path=path)


def torus(num_ranks: int, bytes_per_s: float, latency_s: float) -> FlowNetwork:
    """A ring of links in both directions; flows take the shorter way round."""

    def path(src: int, dst: int) -> tuple[int, ...]:
        ahead = (dst - src) % num_ranks
        if ahead <= num_ranks - ahead:
            return tuple((src + k) % num_ranks for k in range(ahead))
        return tuple(num_ranks + (src - k) % num_ranks for k in range(num_ranks - ahead))

    return FlowNetwork(bytes_per_s=np.full(2 * num_ranks, bytes_per_s), latency_s=latency_s, path=path)


def times_s(algorithm: Algorithm, num_ranks: int, num_bytes: float, network: FlowNetwork) -> Floats:
    """When each rank is done, array [num_ranks].

    The chunks of one step between two ranks are one flow of as many shares. A flow starts when both its ranks are done
    with their earlier steps; its last byte arrives a latency after it has left.
    """
    flows, weight = np.unique(table(algorithm.sends(num_ranks))[:3], axis=1, return_counts=True)
    chunk = chunk_share(algorithm.op, num_ranks, algorithm.num_chunks(num_ranks)) * num_bytes
    uses = np.zeros((flows.shape[1], len(network.bytes_per_s)), bool)
    for row, (_, src, dst) in enumerate(flows.T.tolist()):
        uses[row, list(network.path(src, dst))] = True
    shares = weight.astype(np.float64)
    ends = _ends_s(_before(flows), shares * chunk, (shares, uses), network)
    done = np.zeros(num_ranks + 1)
    for side in (1, 2):
        np.maximum.at(done, flows[side], ends)
    return done[:num_ranks]


def _before(flows: Ints) -> list[list[int]]:
    """For each flow, in order of steps, those of the last earlier step of its source, and of its destination."""
    last: dict[int, tuple[int, list[int], list[int]]] = {}
    out: list[list[int]] = []
    for row, (step, src, dst) in enumerate(flows.T.tolist()):
        waits: list[int] = []
        for rank in (src, dst):
            at, here, earlier = last.get(rank, (-1, [], []))
            if at < step:
                at, here, earlier = step, [], here
            waits += earlier
            last[rank] = (at, [*here, row], earlier)
        out.append(waits)
    return out


def _ends_s(before: list[list[int]], size: Floats, sharing: tuple[Floats, Bools], network: FlowNetwork) -> Floats:
    """When the last byte of each flow arrives. sharing: the flows' weights, and the links that each uses."""
    weight, uses = sharing
    num, now = len(size), 0.0
    left, ends, starts = size.copy(), np.full(num, np.inf), np.full(num, np.inf)
    is_active = np.zeros(num, bool)
    waiting = set(range(num))
    _start_ready(waiting, before, ends, starts)
    while not np.isfinite(ends).all():
        is_active |= starts <= now
        starts[is_active] = np.inf
        rate = np.zeros(num)
        rate[is_active] = max_min(weight[is_active], uses[is_active], network.bytes_per_s)
        to_end = np.divide(left, rate, out=np.full(num, np.inf), where=is_active)
        wait = min(float(to_end.min()), float(starts.min()) - now)
        left = left - rate * wait
        now += wait
        has_ended = is_active & (to_end <= wait * (1 + 1e-12))
        is_active &= ~has_ended
        ends[has_ended] = now + network.latency_s
        if has_ended.any():
            _start_ready(waiting, before, ends, starts)
    return ends


def _start_ready(waiting: set[int], before: list[list[int]], ends: Floats, starts: Floats) -> None:
    """Give a start to those of the `waiting` flows whose predecessors all have an end, and wait for them no more."""
    for row in sorted(waiting):
        start = max((float(ends[one]) for one in before[row]), default=0.0)
        if start < np.inf:
            starts[row] = start
            waiting.discard(row)


def max_min(weight: Floats, uses: Bools, bytes_per_s: Floats) -> Floats:
    """The rate of each flow, such that none can grow without taking from one that has no more for its weight.

    weight: array [flows]; uses: array [flows, links]. Source: Bertsekas, Gallager 1992, progressive filling.
    """
    rate, is_open = np.zeros(len(weight)), np.ones(len(weight), bool)
    free = bytes_per_s.astype(float).copy()
    while is_open.any():
        crossing = (weight * is_open) @ uses
        share = np.divide(free, crossing, out=np.full(len(free), np.inf), where=crossing > 0)
        least = share.min()
        if not np.isfinite(least):
            rate[is_open] = np.inf
            break
        is_full = share <= least * (1 + 1e-12)
        stops = is_open & (uses & is_full).any(axis=1)
        rate[stops] = weight[stops] * least
        free = np.maximum(free - (weight * stops * least) @ uses, 0)
        is_open &= ~stops
    return rate
