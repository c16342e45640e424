"""NCCL: the algorithm that its tuner picks, timed with constants fitted for each kind of link.

A collective takes launch + base + steps between nodes + norm(steps inside the node, wire), where the norm lets the two
overlap more or less, and the wire is what the busiest port carries. The last step's copy cannot hide behind another
transfer (`copy`), and small buffers keep only some of the channels busy (`growth`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import log2

import numpy as np

from aisys.collective.layout import Rows
from aisys.collective.library import nccl_tuner
from aisys.collective.library.nccl_tuner import ALGORITHMS, NETWORK_POST_S, NETWORK_STEP_S, Seen
from aisys.collective.library.reference import constants_of
from aisys.collective.types import Floats, Ints, Price
from aisys.machine import Link

PROTOCOLS = ("ll", "ll128", "simple", "nvls", "p2p_ll", "p2p_simple")
FIELDS = ("base_s", "step_s", "growth_s", "knee_bytes", "efficiency", "overlap")
SCALARS = ("launch_s", "copy", "nvls.copy", "p2p.copy", "gather_growth", "gather_wire")
TUNER = ("generation", "bandwidth_bytes_per_s", "num_channels", "has_nvls", "has_ll128")

_FAMILY = np.array([0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 5])
PROTOCOL_OF = np.array([0, 1, 2, 0, 1, 2, 3, 3, 2, 4, 5])
_RING, _TREE, _NVLS, _NVLS_TREE, _PAT, _P2P = range(6)
_TREE_STEP = np.array([1.0, 1.25 / 1.9, 4.0 / 3.4, 1, 1, 1])
_TREE_WIRE, _PAT_WIRE = 1 / 0.92, 1 / 0.75
"""A tree's hop and wire beside the ring's of the same protocol; PAT's wire. Source: NCCL 2.28.3 tuning.cc."""
_STEP_BETWEEN_NODES_S = np.concatenate([NETWORK_STEP_S[:, 0], [0, 0]])
_NAMES = np.array(ALGORITHMS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinkConstants:
    """The constants of one link inside a node.

    protocols: array [PROTOCOLS, FIELDS]. shares: number of ranks, and the share of the data sheet's bandwidth that so
    many reach together, where the link is no switch. error: the 90 % interval, array [PROTOCOLS, 2].
    """

    bandwidth_bytes_per_s: float
    protocols: Floats
    launch_s: float
    copy: float
    nvls_copy: float
    p2p_copy: float
    gather_growth: float
    gather_wire: float
    shares: tuple[tuple[float, ...], tuple[float, ...]]
    error: Floats
    seen: Seen
    keys: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConstants:
    """The constants of one link between nodes: shares of its bandwidth, a factor on the steps that NCCL's tuner takes
    for collectives, the step of point-to-point transfers, the 90 % interval.
    """

    efficiency: float
    p2p_efficiency: float
    step_factor: float
    p2p_step_s: float
    error: tuple[float, float]
    keys: frozenset[str] = frozenset()


def price(rows: Rows, link: Link, network: Link | None) -> Price:
    """Time, interval and algorithm of each row on `link` inside the node and `network` between nodes."""
    inside = link_constants(link)
    between = network_constants(network) if network is not None else None
    chosen = nccl_tuner.choose(rows, inside.seen)
    time_s = duration_s(rows, chosen, inside, between)
    low, high = inside.error[PROTOCOL_OF[chosen]].T
    keys = inside.keys
    far = rows.num_nodes > 1
    if between is not None and far.any():
        low, high = np.where(far, between.error[0], low), np.where(far, between.error[1], high)
        keys = keys | between.keys
    return Price(time_s=time_s, error_low=low, error_high=high, algorithm=_NAMES[chosen], keys=keys)


def duration_s(rows: Rows, chosen: Ints, inside: LinkConstants, between: NetworkConstants | None) -> Floats:
    """Time of the `chosen` algorithm (index in ALGORITHMS) for each row."""
    family, protocol = _FAMILY[chosen], PROTOCOL_OF[chosen]
    base, step, growth, knee, efficiency, overlap = inside.protocols[protocol].T
    ranks, size, op = rows.num_ranks, rows.num_bytes, rows.op
    rounds = np.where(op == 0, 2.0, 1.0)
    is_gather = op == 1
    hops = _hops(rows, family, rounds)
    if (family == _TREE).any():
        step = np.where(family == _TREE, step * _TREE_STEP[protocol], step)
    per_knee = np.where(protocol == 4, size / ranks, size)
    wide = np.where(protocol == 0, np.sqrt(np.maximum(rows.per_node, 2) / 2), 1.0)
    grown = growth * wide * np.where(is_gather & (protocol == 0), inside.gather_growth, 1.0)
    latency = hops * step + grown * per_knee / (per_knee + knee)
    rate = efficiency * inside.bandwidth_bytes_per_s
    if len(inside.shares[0]) > 1:
        rate = rate * np.interp(np.log2(rows.per_node), *inside.shares)
    wire = _wire(rows, family, rounds, inside) * np.where(is_gather & (protocol == 2), inside.gather_wire, 1.0)
    flow = wire * size / rate
    far = rows.num_nodes > 1
    late: Floats | float = 0.0
    if between is not None and far.any():
        flow = np.maximum(flow, np.where(far, _network_s(rows, family, rounds, between), 0))
        late = np.where(far, _network_steps_s(rows, chosen, rounds, between), 0)
    launch = np.where(protocol >= 4, 0.0, inside.launch_s)
    return np.asarray(launch + base + late + _norm(latency, flow, overlap))


def _norm(first: Floats, second: Floats, order: Floats) -> Floats:
    most = np.maximum(np.maximum(first, second), 1e-30)
    return np.asarray(most * ((first / most) ** order + (second / most) ** order) ** (1 / order))


def _hops(rows: Rows, family: Ints, rounds: Floats) -> Floats:
    """Steps inside a node, one after the other."""
    ring = rounds * (rows.num_ranks - rows.num_nodes)
    if (family == _RING).all():
        return ring
    peers = np.where(rows.op == 5, (rows.num_nodes == 1) * 1.0, rows.num_ranks - 1)
    return np.choose(family, [ring, 2 * (rows.per_node - 1), 1.0, 1.0, 0.0, peers])


def _wire(rows: Rows, family: Ints, rounds: Floats, inside: LinkConstants) -> Floats:
    """Bytes through the busiest port inside a node, as a share of the buffer."""
    ranks, local = rows.num_ranks, rows.per_node
    has_local = local > 1
    steps = np.where(rows.op == 4, ranks, rounds * (ranks - 1))
    ring = np.where(has_local, (steps + inside.copy) / ranks, 0)
    if (family == _RING).all():
        return ring
    switch = 1 + inside.nvls_copy / local
    point = np.where(rows.op == 5, (rows.num_nodes == 1) * (1 + inside.p2p_copy), (local - 1 + inside.p2p_copy) / ranks)
    return np.choose(family, [ring, 2 * _TREE_WIRE * has_local, switch, switch, 0.0, point])


def _network_steps_s(rows: Rows, chosen: Ints, rounds: Floats, between: NetworkConstants) -> Floats:
    """Time of the steps between nodes, one after the other; messages to several peers are only posted in turn."""
    tall = np.ceil(np.log2(rows.num_nodes))
    ring = rounds * (rows.num_nodes - 1)
    hops = np.choose(_FAMILY[chosen], [ring, 2 * tall, 0.0, 2 * tall, tall / 3.5, 0.0])
    posts = np.where(rows.op == 3, rows.num_ranks - rows.per_node - 1, 0) * NETWORK_POST_S
    point = np.where(_FAMILY[chosen] == _P2P, between.p2p_step_s + posts, 0)
    return np.asarray(hops * _STEP_BETWEEN_NODES_S[chosen] * between.step_factor + point)


def _network_s(rows: Rows, family: Ints, rounds: Floats, between: NetworkConstants) -> Floats:
    """Time that the adapters of one node need for what the group sends."""
    ranks, local, nodes, size = rows.num_ranks, rows.per_node, rows.num_nodes, rows.num_bytes
    rate = rows.network_bytes_per_s * between.efficiency
    ring = np.where(rows.op == 4, 1.0, rounds * (ranks - 1) / ranks)
    tree = 2 * (nodes - 1) / nodes
    group = np.choose(family, [ring, tree, 0.0, tree, _PAT_WIRE * (ranks - 1) / ranks, 0.0]) * size / rate
    if not (family == _P2P).any():
        return np.asarray(group)
    each = np.where(rows.op == 5, 1.0, (ranks - local) / ranks) * size
    point = each / (rows.rank_network_bytes_per_s * between.p2p_efficiency)
    return np.where(family == _P2P, point, group)


@lru_cache(maxsize=256)
def link_constants(link: Link) -> LinkConstants:
    """The constants of a link inside a node; those of the reference link of its technology where it has none."""
    found, keys = constants_of(link, "nccl")
    return from_mapping(found, float(link.bandwidth_bytes_per_s), is_pcie=link.technology == "pcie", keys=keys)


def from_mapping(
    found: Mapping[str, float], bandwidth_bytes_per_s: float, *, is_pcie: bool, keys: frozenset[str] = frozenset()
) -> LinkConstants:
    """The constants in `found`, by their names without `nccl.`; `share.N` names are kept where there are any."""
    shares = sorted((log2(int(k.removeprefix("share."))), float(v)) for k, v in found.items() if k.startswith("share."))
    seen = Seen(
        generation=int(found["tuner.generation"]), is_pcie=is_pcie, num_channels=found["tuner.num_channels"],
        bandwidth_bytes_per_s=found["tuner.bandwidth_bytes_per_s"], has_nvls=found["tuner.has_nvls"] > 0,
        has_ll128=found["tuner.has_ll128"] > 0,
    )  # fmt: skip
    return LinkConstants(
        bandwidth_bytes_per_s=bandwidth_bytes_per_s,
        protocols=np.array([[float(found[f"{p}.{f}"]) for f in FIELDS] for p in PROTOCOLS]),
        launch_s=float(found["launch_s"]), copy=float(found["copy"]), nvls_copy=float(found["nvls.copy"]),
        p2p_copy=float(found["p2p.copy"]), gather_growth=float(found["gather_growth"]),
        gather_wire=float(found["gather_wire"]),
        shares=(tuple(x for x, _ in shares), tuple(y for _, y in shares)),
        error=np.array([[float(found[f"{p}.error_{side}"]) for side in ("low", "high")] for p in PROTOCOLS]),
        seen=seen, keys=keys,
    )  # fmt: skip


@lru_cache(maxsize=256)
def network_constants(link: Link) -> NetworkConstants:
    """The constants of a link between nodes; those of the reference link of its technology where it has none."""
    found, keys = constants_of(link, "nccl")
    return NetworkConstants(
        efficiency=float(found["efficiency"]), p2p_efficiency=float(found["p2p.efficiency"]),
        step_factor=float(found["step_factor"]), p2p_step_s=float(found["p2p.step_s"]),
        error=(float(found["error_low"]), float(found["error_high"])), keys=keys,
    )  # fmt: skip
