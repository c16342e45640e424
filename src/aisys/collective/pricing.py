"""The time of collectives over the links of a machine, vectorised over rows."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aisys.collective.calibrated import corrected
from aisys.collective.layout import Rows, Tiers, codes, place, tiers
from aisys.collective.types import CollectiveCost, Fabric, Floats, Ints, Price
from aisys.errors import Unsupported, unknown_name
from aisys.machine import Link

_LIBRARIES = Path(__file__).parent / "library"
_OF_TECHNOLOGY = {"ici": "ring"}
_LIMIT_S = (1e-6, 1e-5, 1e-4)
_LIMIT_LOW = np.array([20, 3.5, 1.9, 1.4])
_LIMIT_HIGH = np.array([13000, 41, 14, 22])
"""5 % and 95 % quantiles of measured over data-sheet time, where that is below each bound, and above all of them.
Source: gpu_collectives.csv, 933 rows."""


def time(
    op: str | Sequence[str] | Ints, num_bytes: ArrayLike, ranks: Mapping[str, ArrayLike], machine: Fabric, *,
    sharing: ArrayLike = 1, library: str = "",
) -> CollectiveCost:  # fmt: skip
    """Time of each row: one collective of `num_bytes` among ranks spread over the tiers of `machine`.

    op: one name of OPS, or one per row. num_bytes: the whole buffer of one rank, as nccl-tests counts it: the reduced
    buffer, the gathered result, the input of reduce_scatter and all_to_all, the message of send_recv.
    ranks: tier of `machine.mesh` to the members of the group along that tier (`{"node": 8, "network": 4}`: 4 nodes
    with 8 ranks each). sharing: groups that use one node's network links at the same time.
    library: a name of `libraries()`; empty takes the one that runs on the machine's links.
    Raises UnknownName for an op, a tier or a library; BadInput for counts or sizes that cannot be.
    """
    found = tiers(machine)
    rows, tier_of = place(codes(op), num_bytes, ranks, sharing, found)
    pricer = _library(library or default_library(found))
    if len(found.local) > 1 and tier_of.any():
        priced = _by_tier(pricer, rows, tier_of, found)
    else:
        priced = pricer(rows, _inner_link(found, 0), found.network_link)
    is_idle = (rows.num_ranks == 1) | (rows.num_bytes == 0)
    time_s = np.where(is_idle, 0.0, priced.time_s) if is_idle.any() else priced.time_s
    return CollectiveCost(
        time_s=time_s, error_low=priced.error_low, error_high=priced.error_high, wire_bytes=wire_bytes(rows),
        algorithm=priced.algorithm, keys=priced.keys,
    )  # fmt: skip


def limit(
    op: str | Sequence[str] | Ints, num_bytes: ArrayLike, ranks: Mapping[str, ArrayLike], machine: Fabric, *,
    sharing: ArrayLike = 1,
) -> CollectiveCost:  # fmt: skip
    """The data sheet's speed of light for the rows of `time`: no latency, every link at its peak."""
    found = tiers(machine)
    rows, tier_of = place(codes(op), num_bytes, ranks, sharing, found)
    peak = np.array([float(link.bandwidth_bytes_per_s) for _, _, link in found.local] or [np.inf])[tier_of]
    adds = np.array([_adds_in_switch(link) for _, _, link in found.local] or [False])[tier_of]
    time_s = np.maximum(_least_inside(rows, adds) / peak, _least_between(rows))
    regime = np.searchsorted(_LIMIT_S, time_s)
    return CollectiveCost(
        time_s=time_s, error_low=_LIMIT_LOW[regime], error_high=_LIMIT_HIGH[regime], wire_bytes=wire_bytes(rows),
        algorithm=np.full(len(time_s), "limit"),
        keys=frozenset(link.bandwidth_bytes_per_s.key for _, _, link in (*found.local, *found.network)),
    )  # fmt: skip


def wire_bytes(rows: Rows) -> Floats:
    """Bytes that one rank sends."""
    ranks = rows.num_ranks
    others = np.where(ranks > 1, 1.0, 0.0)
    part = (ranks - 1) / ranks
    return np.asarray(np.choose(rows.op, [2 * part, part, part, part, others, others]) * rows.num_bytes)


def libraries() -> tuple[str, ...]:
    """The names of the communication libraries that can be priced."""
    return tuple(sorted(f.stem for f in _LIBRARIES.glob("*.py") if "\ndef price(" in f.read_text(encoding="utf-8")))


def default_library(found: Tiers) -> str:
    """The library that runs on these links: NCCL, or its like, wherever GPUs are joined."""
    first = (*found.local, *found.network)[0][2] if (*found.local, *found.network) else None
    return _OF_TECHNOLOGY.get(first.technology, "nccl") if first else "nccl"


def _library(name: str) -> Any:
    try:
        price = import_module(f"aisys.collective.library.{name}").price
    except (ImportError, AttributeError):
        raise unknown_name("collective library", name, libraries()) from None

    def priced(rows: Rows, link: Link, network: Link | None) -> Price:
        return corrected(price(rows, link, network), rows, link, name)

    return priced


def _inner_link(found: Tiers, index: int) -> Any:
    if found.local:
        return found.local[index][2]
    if found.network_link is None:
        raise Unsupported("collective: the machine has one device and no links; give a machine with a mesh")
    return found.network_link


def _by_tier(pricer: Any, rows: Rows, tier_of: Ints, found: Tiers) -> Price:
    """Each row priced on the link of its own tier."""
    parts = []
    for index in np.unique(tier_of):
        chosen = np.flatnonzero(tier_of == index)
        parts.append((chosen, pricer(rows.take(chosen), _inner_link(found, int(index)), found.network_link)))
    order = np.argsort(np.concatenate([chosen for chosen, _ in parts]))
    joined = {
        name: np.concatenate([getattr(part, name) for _, part in parts])[order]
        for name in ("time_s", "error_low", "error_high", "algorithm")
    }
    return Price(keys=frozenset().union(*(part.keys for _, part in parts)), **joined)


def _adds_in_switch(link: Link) -> bool:
    return float(link.constants.get("nccl.tuner.has_nvls", 0)) > 0


def _least_inside(rows: Rows, adds_in_switch: NDArray[np.bool_]) -> Floats:
    """Bytes that must pass one rank's port inside the node."""
    local, size = rows.per_node, rows.num_bytes
    has_local = np.where(local > 1, 1.0, 0.0)
    part = (local - 1) / local
    reduced = np.where(adds_in_switch, has_local, 2 * part)
    spread = (local - 1) / rows.num_ranks
    alone = np.where(rows.num_nodes > 1, 0.0, has_local)
    return np.asarray(np.choose(rows.op, [reduced, part, part, spread, has_local, alone]) * size)


def _least_between(rows: Rows) -> Floats:
    """Time that the node's adapters need at least."""
    ranks, nodes, size = rows.num_ranks, rows.num_nodes, rows.num_bytes
    far = np.where(nodes > 1, 1.0, 0.0)
    part = (nodes - 1) / nodes
    group = np.choose(rows.op, [2 * part, part, part, 0, far, 0]) * size / rows.network_bytes_per_s
    each = np.choose(rows.op, [0, 0, 0, (ranks - rows.per_node) / ranks, 0, far]) * size / rows.rank_network_bytes_per_s
    return np.maximum(group, each)
