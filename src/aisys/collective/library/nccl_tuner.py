"""NCCL's own choice among its algorithms and protocols: the one of least time in the model that it ships.

Source: NVIDIA NCCL 2.28.3 and 2.29.2, src/graph/tuning.cc and src/graph/topo.h (constants and formulas), 2025.
Not modelled: CollNet (in-network reduction), user overrides, mixed generations.
"""

from dataclasses import dataclass

import numpy as np

from aisys.collective.layout import Rows
from aisys.collective.types import Floats, Ints

ALGORITHMS = (
    "ring/ll", "ring/ll128", "ring/simple", "tree/ll", "tree/ll128", "tree/simple", "nvls/simple", "nvls_tree/simple",
    "pat/simple", "p2p/ll", "p2p/simple",
)  # fmt: skip
RING, TREE, NVLS, NVLS_TREE, PAT, P2P = slice(0, 3), slice(3, 6), 6, 7, 8, 9

_IS_SWITCH = (np.arange(9) == NVLS)[:, None]
BASE_S = 1e-6 * np.array([6.6, 14, 8.4, 6.8, 14, 8.4, 0, 0, 8])[:, None]
STEP_S = {
    "nvlink": 1e-6 * np.array([0.6, 1.9, 3.4, 0.6, 1.25, 4, 25, 25, 4])[:, None],
    "pcie": 1e-6 * np.array([1, 2.5, 5.7, 1, 1.9, 4, 0, 0, 4])[:, None],
}
"""One hop inside a node, by algorithm. NVLS takes one hop whatever the number of ranks."""
NETWORK_STEP_S = 1e-6 * np.array([2.7, 4, 14, 5, 8.5, 14, 18, 20.9, 14])[:, None]
LONE_NETWORK_STEP_S = 1e-6 * np.array([5, 8.5, 14, 5, 8.5, 14, 18, 20.9, 14])[:, None]
"""One hop between nodes; `LONE` where each node holds one rank, so that nothing hides it."""
NETWORK_POST_S = 1e-6
"""A step of a ring over several nodes takes at least one post to the adapter, three with the simple protocol."""

LL_BYTES_PER_S = 1e9 * np.array([[39, 39, 20.4], [87.7, 22.5, 19], [141, 45, 35], [282, 90, 70]])
"""Most that the LL protocol carries: Volta, Ampere, Hopper, Blackwell x one node (by the GPU), two, more."""
RING_LL128_BYTES_PER_S = 1e9 * np.array([[20, 20, 20], [20, 20, 20], [36.7, 36.7, 36.7], [40, 40, 40]])
TREE_LL128_BYTES_PER_S = 1e9 * np.array([[20, 20, 20], [20, 20, 20], [36.7, 36.7, 29], [55.6, 31.67, 20]])
TREE_BYTES_PER_S = 1e9 * np.array([[26.5, 18.5, 10], [24, 23.6, 17.8], [38.7, 41.4, 36], [70, 42.8, 24]])
NVLS_TREE_BYTES_PER_S = 1e9 * np.array([[26.5, 18.5, 10], [24, 23.6, 17.8], [0, 57.7, 45.5], [0, 96, 80]])
"""Most that one channel carries; rows and columns as above."""
NVLS_EFFICIENCY = np.array([0, 0, 0.85, 0.74])
TREE_CORRECTION = np.array([
    [1, 1, 1, 1, .9, .8, .7, .7, .7, .7, .6, .5, .4, .4, .5, .6, .7, .8, .9, 1, 1, 1, 1, 1],
    [1, 1, 1, 1, 1, .9, .8, .8, .8, .7, .6, .6, .6, .6, .6, .6, .8, .9, .9, .9, .9, 1, 1, 1],
    [.9, .9, .9, .9, .9, .9, .9, .8, .7, .6, .6, .5, .5, .5, .5, .6, .7, .8, .7, .7, .8, .9, .9, 1],
])  # fmt: skip
"""Share of its bandwidth that a tree reaches, by protocol and size: 64 B to 256 MiB in powers of two, then all."""
P2P_LL_BYTES = 16384
"""Messages to one peer of at most so many bytes go by LL (NCCL_P2P_LL_THRESHOLD)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the tuner knows of a link. generation: 0 Volta, 1 Ampere, 2 Hopper, 3 Blackwell.

    bandwidth_bytes_per_s: of all channels together, as its search of the topology finds it.
    """

    generation: int
    is_pcie: bool
    bandwidth_bytes_per_s: float
    num_channels: float
    has_nvls: bool
    has_ll128: bool


def choose(rows: Rows, seen: Seen) -> Ints:
    """Index in ALGORITHMS of what NCCL runs for each row."""
    is_p2p = (rows.op == 3) | (rows.op == 5)
    peers = np.where(rows.op == 5, 1, rows.num_ranks)
    point = np.where(rows.num_bytes / peers <= P2P_LL_BYTES, P2P, P2P + 1)
    if is_p2p.all():
        return point
    return np.where(is_p2p, point, np.argmin(predicted_s(rows, seen), axis=0))


def predicted_s(rows: Rows, seen: Seen) -> Floats:
    """The tuner's time of each candidate, array [candidates, rows]; inf where it cannot be used."""
    rate = _bytes_per_s(rows, seen)
    wire = np.divide(rows.num_bytes, rate, out=np.full(rate.shape, np.inf), where=rate > 0)
    return np.asarray(_latency_s(rows, seen) + wire)


def _latency_s(rows: Rows, seen: Seen) -> Floats:
    local, nodes = rows.per_node, rows.num_nodes
    rounds = np.where(rows.op == 0, 2.0, 1.0)
    hop = STEP_S["pcie" if seen.is_pcie else "nvlink"]
    if nodes.max() == 1:
        return BASE_S + hop * np.where(_IS_SWITCH, 1.0, np.where(rows.op == 4, 1.0, rounds * (local - 1)))
    far = np.where(local == 1, LONE_NETWORK_STEP_S, NETWORK_STEP_S)
    out = np.empty((9, len(local)))
    near = np.where(nodes > 1, np.maximum(hop[RING], NETWORK_POST_S * np.array([[1], [1], [3]])), hop[RING])
    inter = rounds * (nodes - 1)
    steps = np.where(rows.op == 4, 1.0, rounds * (rows.num_ranks - 1))
    out[RING] = (steps - inter) * near + inter * far[RING]
    tall = np.floor(np.log2(nodes))
    out[TREE] = 2 * ((local - 1) * hop[TREE] + tall * far[TREE])
    out[NVLS] = hop[NVLS]
    out[NVLS_TREE] = hop[NVLS_TREE] + 2 * tall * far[NVLS_TREE]
    out[PAT] = tall * far[PAT] / 3.5 + 2.8e-6 * rows.num_ranks
    is_long = rows.num_bytes >= 64 * seen.num_channels * rows.num_ranks
    out += BASE_S
    out[2] *= np.where((nodes > 1) & (rows.op == 0) & is_long, 1.4, 1)
    return out


def _bytes_per_s(rows: Rows, seen: Seen) -> Floats:
    ranks, nodes, channels = rows.num_ranks, rows.num_nodes, seen.num_channels
    gen, inside = seen.generation, seen.bandwidth_bytes_per_s
    if nodes.max() == 1:
        span, bus, slow = np.zeros(1, np.int64), np.full(1, inside), LL_BYTES_PER_S[gen, :1]
    else:
        span = np.minimum(nodes, 3).astype(np.int64) - 1
        bus = np.where(nodes > 1, np.minimum(inside, rows.network_bytes_per_s), inside)
        slow = LL_BYTES_PER_S[np.where(nodes > 1, 0, gen), span]
    is_reduce, steps = rows.op == 0, np.where(rows.op == 0, 2.0, 1.0) * (ranks - 1)
    per_step = np.where(rows.op == 4, 1.0, ranks / np.maximum(steps, 1))
    out = np.zeros((9, len(nodes)))
    out[0] = np.minimum(slow, bus / 2) * per_step
    out[1] = np.minimum(bus * 0.92, channels * RING_LL128_BYTES_PER_S[gen, span]) * per_step * seen.has_ll128
    out[2] = bus * per_step
    tree = np.minimum(bus * 0.92, channels * TREE_BYTES_PER_S[gen, span]) / 2
    size = np.clip(np.log2(np.maximum(rows.num_bytes, 64) / 64), 0, 23).astype(np.int64)
    out[TREE] = TREE_CORRECTION[:, size] * is_reduce
    out[3] *= np.minimum(tree / 3.8, slow / 2)
    share = np.where(nodes > 1, 120 / 128, 7 / 9)
    out[4] *= np.minimum(tree * share, channels * TREE_LL128_BYTES_PER_S[gen, span] / 2) * seen.has_ll128
    out[5] *= tree
    if seen.has_nvls:
        _multicast(out, rows, seen, bus, per_step)
    out[PAT] = 0.75 * bus * ((rows.op == 1) | (rows.op == 2)) * (rows.per_node == 1)
    return out


def _multicast(out: Floats, rows: Rows, seen: Seen, bus: Floats, per_step: Floats) -> None:
    """The rates of NVLS and NVLSTree, into `out`: groups of three or more; the tree for all-reduce over nodes."""
    nodes, channels = rows.num_nodes, seen.num_channels
    switch = seen.bandwidth_bytes_per_s * NVLS_EFFICIENCY[seen.generation] * (channels - 1) / channels
    is_reduce = rows.op == 0
    local = (nodes == 1) & (rows.per_node > 2) & (rows.op < 3)
    out[NVLS] = np.where(is_reduce, 2 * switch * per_step, switch * (1 - 1 / rows.per_node)) * local
    if nodes.max() == 1:
        return
    span = np.minimum(nodes, 3).astype(np.int64) - 1
    far = rows.network_bytes_per_s * np.where(nodes == 2, 2.0, 1.0)
    most = np.minimum(2 * switch, channels * NVLS_TREE_BYTES_PER_S[seen.generation, span])
    wide = (nodes > 1) & (rows.per_node > 2) & is_reduce
    out[NVLS_TREE] = np.where(wide, np.minimum(most, np.where(wide, far, 0)) * per_step, 0)
