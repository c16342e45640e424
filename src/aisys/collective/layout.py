"""The rows of a pricing call: what each collective moves, and over which links of the machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod

import numpy as np
from numpy.typing import ArrayLike

from aisys.collective.types import OPS, Fabric, Floats, Ints
from aisys.errors import BadInput, unknown_name
from aisys.machine import Link

NETWORK = ("infiniband", "ethernet")
"""Technologies that join nodes; every other one joins the devices of a node."""

_CODES = {op: code for code, op in enumerate(OPS)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Collectives that share their links, as arrays [rows].

    op: index in OPS. per_node: ranks of the group in one node; num_nodes: nodes that it spans. network_bytes_per_s:
    what the adapters of one node give to the group; rank_network_bytes_per_s: what they give to one rank.
    """

    op: Ints
    num_bytes: Floats
    per_node: Floats
    num_nodes: Floats
    network_bytes_per_s: Floats
    rank_network_bytes_per_s: Floats
    num_ranks: Floats = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_ranks", self.per_node * self.num_nodes)

    def take(self, rows: Ints) -> "Rows":
        """The chosen rows."""
        return Rows(
            op=self.op[rows], num_bytes=self.num_bytes[rows], per_node=self.per_node[rows],
            num_nodes=self.num_nodes[rows], network_bytes_per_s=self.network_bytes_per_s[rows],
            rank_network_bytes_per_s=self.rank_network_bytes_per_s[rows],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tiers:
    """The tiers of a machine: those inside a node, innermost first, and those between nodes, with their links."""

    local: tuple[tuple[str, int, Link], ...]
    network: tuple[tuple[str, int, Link], ...]

    @property
    def devices_per_node(self) -> int:
        return prod(extent for _, extent, _ in self.local)

    @property
    def network_link(self) -> Link | None:
        """The slowest link between nodes."""
        links = [link for _, _, link in self.network]
        return min(links, key=lambda link: float(link.bandwidth_bytes_per_s)) if links else None


def tiers(machine: Fabric) -> Tiers:
    """The tiers of `machine`, split into those inside a node and those between nodes."""
    return _tiers(tuple((tier, int(extent), machine.links[tier]) for tier, extent in machine.mesh.items()))


@lru_cache(maxsize=256)
def _tiers(found: tuple[tuple[str, int, Link], ...]) -> Tiers:
    local = tuple(t for t in found if t[2].technology not in NETWORK)
    return Tiers(local, tuple(t for t in found if t[2].technology in NETWORK))


def codes(op: str | Sequence[str] | Ints) -> Ints:
    """Each op as its index in OPS. Raises UnknownName for a name that is none of them."""
    if isinstance(op, np.ndarray) and op.dtype.kind in "iu":
        return op.astype(np.int64, copy=False)
    names = [op] if isinstance(op, str) else op
    try:
        return np.array([_CODES[name] for name in names], np.int64)
    except KeyError as error:
        raise unknown_name("collective", str(error.args[0]), OPS) from None


def place(
    op: Ints, num_bytes: ArrayLike, ranks: Mapping[str, ArrayLike], sharing: ArrayLike, found: Tiers
) -> tuple[Rows, Ints]:
    """The rows, and for each the index of the local tier whose link bounds it (the outermost that it crosses).

    Raises BadInput for a size that is no number of bytes, or a group larger than its tier; UnknownName for a tier.
    """
    known = [tier for tier, _, _ in (*found.local, *found.network)]
    for tier in ranks:
        if tier not in known:
            raise unknown_name("tier", tier, known)
    counts = [np.asarray(ranks.get(tier, 1), np.float64).reshape(-1) for tier in known]
    size, op, shared, *counts = np.broadcast_arrays(
        np.asarray(num_bytes, np.float64).reshape(-1), op, np.asarray(sharing, np.float64).reshape(-1), *counts
    )
    _check(size, shared, counts, found)
    num_local = len(found.local)
    per_node, num_nodes = np.ones(len(size)), np.ones(len(size))
    tier_of = np.zeros(len(size), np.int64)
    for i, count in enumerate(counts):
        if i < num_local:
            tier_of[count > 1] = i
            per_node = per_node * count
        else:
            num_nodes = num_nodes * count
    group, rank = _network(per_node, shared, found)
    rows = Rows(
        op=op, num_bytes=size, per_node=per_node, num_nodes=num_nodes, network_bytes_per_s=group,
        rank_network_bytes_per_s=rank,
    )  # fmt: skip
    return rows, tier_of


def _network(per_node: Floats, shared: Floats, found: Tiers) -> tuple[Floats, Floats]:
    """What the adapters of a node give to a group of `per_node` ranks, and to one rank, while others share them."""
    link = found.network_link
    if link is None:
        nothing = np.full(len(per_node), np.inf)
        return nothing, nothing
    device = float(link.bandwidth_bytes_per_s)
    adapter = max(device, float(link.constants.get("nic_bandwidth_bytes_per_s", device)))
    node = device * found.devices_per_node
    group = np.minimum(node / shared, per_node * adapter)
    return group, np.minimum(group / per_node, adapter)


def _check(size: Floats, shared: Floats, counts: list[Floats], found: Tiers) -> None:
    if not (size >= 0).all() or size.max(initial=0.0) == np.inf:
        raise BadInput(f"collective: num_bytes is {size[~(size >= 0) | (size == np.inf)][0]:g}; give 0 or more bytes")
    if not (shared >= 1).all():
        raise BadInput(f"collective: sharing is {shared.min():g}; give the number of groups, at least 1")
    for (tier, extent, _), count in zip((*found.local, *found.network), counts, strict=True):
        if not (count >= 1).all() or count.max(initial=1.0) > extent:
            wrong = count[~((count >= 1) & (count <= extent))][0]
            raise BadInput(f"collective: {wrong:g} ranks on tier {tier!r} of {extent} members; give 1 to {extent}")
