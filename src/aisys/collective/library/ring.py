"""Rings over links of any technology, by their data sheet alone: steps of latency, and a pipelined wire."""

import numpy as np

from aisys.collective.layout import Rows
from aisys.collective.types import Price
from aisys.machine import Link


def price(rows: Rows, link: Link, network: Link | None) -> Price:
    """Time of ring algorithms inside the node and between nodes, one after the other; never validated.

    The links of a torus carry a ring each, so that a device sends at the bandwidth of all of them together.
    """
    local, nodes, ranks, size = rows.per_node, rows.num_nodes, rows.num_ranks, rows.num_bytes
    rounds = np.where(rows.op == 0, 2.0, 1.0)
    is_point = rows.op == 5
    inside = np.where(is_point, (nodes == 1) * 1.0, rounds * (local - 1))
    share = np.choose(rows.op, [2 * (local - 1) / local, (local - 1) / local, (local - 1) / local, (local - 1) / ranks,
                                local > 1, (local > 1) & (nodes == 1)])  # fmt: skip
    time_s = inside * float(link.latency_s) + share * size / float(link.bandwidth_bytes_per_s)
    keys = {link.latency_s.key, link.bandwidth_bytes_per_s.key}
    if network is not None:
        far = nodes > 1
        between = np.where(is_point, 1.0, rounds * (nodes - 1)) * float(network.latency_s)
        part = (nodes - 1) / nodes
        group = np.choose(rows.op, [2 * part, part, part, 0, 1, 0]) * size / rows.network_bytes_per_s
        each = np.choose(rows.op, [0, 0, 0, part, 0, 1]) * size / rows.rank_network_bytes_per_s
        time_s = time_s + np.where(far, between + np.maximum(group, each), 0)
        keys |= {network.latency_s.key, network.bandwidth_bytes_per_s.key}
    unknown = np.full(len(size), np.nan)
    return Price(
        time_s=time_s, error_low=unknown, error_high=unknown, algorithm=np.full(len(size), "ring"), keys=frozenset(keys)
    )
