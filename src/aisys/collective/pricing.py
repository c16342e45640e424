"""The time of collectives over the links of a machine, vectorised over rows."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from aisys.collective.types import OPS, CollectiveCost, Fabric, Floats
from aisys.errors import unknown_name

NETWORK = ("infiniband", "ethernet")


def time(
    op: str | Sequence[str], num_bytes: ArrayLike, ranks: Mapping[str, ArrayLike], machine: Fabric, *,
    sharing: ArrayLike = 1, library: str = "nccl",
) -> CollectiveCost:  # fmt: skip
    """Time of each row: one collective of `num_bytes` among ranks spread over the tiers of `machine`.

    op: one name of OPS, or one per row. num_bytes: the whole buffer of one rank, as nccl-tests counts it: the reduced
    buffer, the gathered result, the input of reduce_scatter and all_to_all, the message of send_recv.
    ranks: tier of `machine.mesh` to the members of the group along that tier (`{"node": 8, "network": 4}`: 4 nodes
    with 8 ranks each). sharing: groups that use one node's network links at the same time.
    """
    size = np.atleast_1d(np.asarray(num_bytes, dtype=float))
    codes = _codes(op)
    tiers = {tier: np.asarray(count, dtype=float) for tier, count in ranks.items()}
    inner = next(iter(machine.mesh), "")
    local = tiers.get(inner, np.ones(1))
    total = np.ones(1)
    for count in tiers.values():
        total = total * count
    num_nodes = total / local
    size, codes, local, num_nodes, shared = np.broadcast_arrays(size, codes, local, num_nodes, np.asarray(sharing, float))
    return _alpha_beta(size, codes, local, num_nodes, shared, machine)


def _codes(op: str | Sequence[str]) -> np.ndarray:
    names = [op] if isinstance(op, str) else list(op)
    try:
        return np.array([OPS.index(name) for name in names])
    except ValueError:
        raise unknown_name("collective", next(n for n in names if n not in OPS), OPS) from None


def _alpha_beta(size: Floats, codes: Floats, local: Floats, nodes: Floats, shared: Floats, machine: Fabric) -> CollectiveCost:
    p = local * nodes
    links = list(machine.links.values())
    intra = next((link for link in links if link.technology not in NETWORK), links[0])
    inter = next((link for link in links if link.technology in NETWORK), links[-1])
    devices = np.prod([n for t, n in machine.mesh.items() if machine.links[t].technology not in NETWORK], initial=1)
    share = np.choose(codes, [2 * (p - 1) / p, (p - 1) / p, (p - 1) / p, (p - 1) / p, (p > 1) * 1.0, (p > 1) * 1.0])
    steps = np.choose(codes, [2 * (local - 1), local - 1, local - 1, local - 1, local - 1, local > 1])
    hops = np.choose(codes, [2 * (nodes - 1), nodes - 1, nodes - 1, nodes - 1, nodes - 1, nodes > 1])
    per_node = float(inter.bandwidth_bytes_per_s) * devices / shared
    wire = share * size
    time_s = np.where(p > 1, 6e-6, 0.0) + steps * 1e-6 + hops * 6e-6
    bandwidth = np.where(nodes > 1, np.minimum(per_node, 0.8 * float(intra.bandwidth_bytes_per_s)), 0.8 * float(intra.bandwidth_bytes_per_s))
    time_s = time_s + wire / bandwidth
    return CollectiveCost(
        time_s=time_s, error_low=np.full(time_s.shape, 0.7), error_high=np.full(time_s.shape, 1.5), wire_bytes=wire,
        algorithm=np.full(time_s.shape, "ring/simple"), keys=frozenset(),
    )  # fmt: skip
