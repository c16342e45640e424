"""Transfers of a plan priced on the links of a machine."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aisys import collective
from aisys.machine import Machine
from aisys.plan.groups import Group

Floats = NDArray[np.float64]
__all__ = ["Group", "TransferTimes", "transfer_times"]


@dataclass(frozen=True, eq=False, kw_only=True)
class TransferTimes:
    """time_s and its 90 % interval low_s, high_s: arrays [transfers]. keys: link constants that were read."""

    time_s: Floats
    low_s: Floats
    high_s: Floats
    keys: frozenset[str]


def transfer_times(
    kinds: Sequence[str], num_bytes: Floats, where: Sequence[Group], machine: Machine, library: str = ""
) -> TransferTimes:
    """Time of each transfer: its kind, the bytes of its buffer, and the group of ranks that it crosses.

    library: the collective library; "" takes the one that runs on the machine's links.
    """
    is_real = (num_bytes > 0) & np.array([g.size > 1 for g in where], bool)
    out = [np.zeros(len(where)) for _ in range(3)]
    rows = np.flatnonzero(is_real).tolist()
    if not rows:
        return TransferTimes(time_s=out[0], low_s=out[1], high_s=out[2], keys=frozenset())
    members = np.array([[n for _, n in where[i].members] for i in rows])
    codes = np.array([collective.OPS.index(kinds[i]) for i in rows])
    shared = np.array([where[i].sharing for i in rows])
    table = np.column_stack([codes, num_bytes[rows], shared, members])
    distinct, index = np.unique(table, axis=0, return_inverse=True)
    cost = collective.time(
        [collective.OPS[int(c)] for c in distinct[:, 0]], distinct[:, 1],
        {tier: distinct[:, 3 + i] for i, tier in enumerate(machine.mesh)}, machine, sharing=distinct[:, 2],
        library=library,
    )  # fmt: skip
    index = index.ravel()
    out[0][rows] = cost.time_s[index]
    out[1][rows] = (cost.time_s * cost.error_low)[index]
    out[2][rows] = (cost.time_s * cost.error_high)[index]
    return TransferTimes(time_s=out[0], low_s=out[1], high_s=out[2], keys=cost.keys)
