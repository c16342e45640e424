"""Transfers of a plan priced on the links of a machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys import collective
from aisys.machine import Machine
from aisys.plan import Plan, PlanTable
from aisys.plan.groups import Group, groups

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
LIMIT = "limit"
"""In the place of a collective library: the data sheet's speed of light."""
DEGREES = ("tensor", "context", "data", "expert", "pipeline")
_MIX = np.random.default_rng(0).integers(2**63, 2**64, 16, np.uint64) | np.uint64(1)
__all__ = ["LIMIT", "Group", "Places", "TransferTimes", "places", "seconds", "transfer_times"]


@dataclass(frozen=True, eq=False, kw_only=True)
class TransferTimes:
    """time_s and its 90 % interval low_s, high_s: arrays [transfers]. keys: link constants that were read."""

    time_s: Floats
    low_s: Floats
    high_s: Floats
    keys: frozenset[str]


@dataclass(frozen=True, eq=False, kw_only=True)
class Places:
    """The groups of one mesh axis, one entry per plan: ranks, ranks along each tier of the machine [plans, tiers],
    and how many such groups share the network links of a node.
    """

    size: Ints
    members: Ints
    sharing: Ints

    @classmethod
    def of(cls, where: Sequence[Group]) -> "Places":
        """Groups side by side."""
        return cls(
            size=np.array([g.size for g in where], np.int64), sharing=np.array([g.sharing for g in where], np.int64),
            members=np.array([[n for _, n in g.members] for g in where], np.int64),
        )  # fmt: skip

    def take(self, rows: NDArray[np.int64]) -> "Places":
        """The chosen rows, in any shape flattened."""
        return Places(size=self.size[rows], members=self.members[rows], sharing=self.sharing[rows])


def places(plans: PlanTable, machine: Machine) -> dict[str, Places]:
    """Where the groups of every plan stand, by mesh axis. Raises CannotApply for a plan larger than the machine."""
    degrees = np.stack([plans[name] for name in DEGREES], axis=1).astype(np.int64)
    distinct, index = distinct_rows(degrees)
    found = [groups(Plan(**dict(zip(DEGREES, row, strict=True))), machine) for row in distinct.tolist()]
    return {axis: Places.of([g[axis] for g in found]).take(index) for axis in (found[0] if found else ())}


def distinct_rows(table: NDArray[Any]) -> tuple[NDArray[Any], Ints]:
    """The distinct rows of a two-dimensional array, in some order, and for each row the place of its like.

    As np.unique over rows, by one key per row: rows of one key are compared, and those that differ are told apart.
    """
    bits = np.ascontiguousarray(table).view(np.uint64)
    keys = (bits * _MIX[: bits.shape[1]]).sum(axis=1, dtype=np.uint64)
    _, first, index = np.unique(keys, return_index=True, return_inverse=True)
    distinct = table[first]
    if not np.array_equal(distinct[index], table):
        distinct, index = np.unique(table, axis=0, return_inverse=True)
    return distinct, index.ravel()


def seconds(
    kinds: str | Sequence[str], num_bytes: Floats, where: Places, machine: Machine, library: str = ""
) -> Floats:
    """Time of transfers, in the shape [plans, ...] of `num_bytes`: 0 where nothing moves. kinds: one, or per plan."""
    each = num_bytes.size // max(1, len(num_bytes))
    rows = np.repeat(np.arange(len(num_bytes)), each)
    codes = _codes([kinds] * len(num_bytes) if isinstance(kinds, str) else kinds)
    priced = _price(codes[rows], num_bytes.ravel(), where.take(rows), machine, library)
    return priced.time_s.reshape(num_bytes.shape)


def transfer_times(
    kinds: Sequence[str], num_bytes: Floats, where: Sequence[Group], machine: Machine, library: str = ""
) -> TransferTimes:
    """Time of each transfer: its kind, the bytes of its buffer, and the group of ranks that it crosses.

    library: the collective library; "" takes the one that runs on the machine's links, LIMIT none.
    """
    if not where:
        return TransferTimes(time_s=np.zeros(0), low_s=np.zeros(0), high_s=np.zeros(0), keys=frozenset())
    return _price(_codes(kinds), num_bytes, Places.of(where), machine, library)


def _codes(kinds: Sequence[str]) -> Ints:
    return np.array([collective.OPS.index(kind) for kind in kinds], np.int64)


def _price(codes: Ints, num_bytes: Floats, where: Places, machine: Machine, library: str) -> TransferTimes:
    out = [np.zeros(len(num_bytes)) for _ in range(3)]
    rows = np.flatnonzero((num_bytes > 0) & (where.size > 1))
    if not len(rows):
        return TransferTimes(time_s=out[0], low_s=out[1], high_s=out[2], keys=frozenset())
    distinct, index = distinct_rows(
        np.column_stack([codes[rows], num_bytes[rows], where.sharing[rows], where.members[rows]]).astype(np.float64)
    )
    what = distinct[:, 0].astype(np.int64), distinct[:, 1]
    ranks = {tier: distinct[:, 3 + i] for i, tier in enumerate(machine.mesh)}
    if library == LIMIT:
        cost = collective.limit(*what, ranks, machine, sharing=distinct[:, 2])
    else:
        cost = collective.time(*what, ranks, machine, sharing=distinct[:, 2], library=library)
    out[0][rows] = cost.time_s[index]
    out[1][rows] = (cost.time_s * cost.error_low)[index]
    out[2][rows] = (cost.time_s * cost.error_high)[index]
    return TransferTimes(time_s=out[0], low_s=out[1], high_s=out[2], keys=cost.keys)
