"""Transfers of a plan priced on the links of a machine."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aisys.machine import Machine
from aisys.plan.groups import Group

Floats = NDArray[np.float64]
__all__ = ["Group", "TransferTimes", "transfer_times"]


@dataclass(frozen=True, eq=False, kw_only=True)
class TransferTimes:
    """time_s and its 90 % interval, arrays [transfers]; keys: link constants read."""

    time_s: Floats
    low_s: Floats
    high_s: Floats
    keys: frozenset[str]


def transfer_times(kinds: Sequence[str], num_bytes: Floats, where: Sequence[Group], machine: Machine) -> TransferTimes:
    """Time of each transfer: kind, buffer bytes and the group that it crosses."""
    links = list(machine.links.values())
    out = np.zeros(len(kinds))
    for i, (kind, size, group) in enumerate(zip(kinds, num_bytes, where, strict=True)):
        if group.size == 1 or size == 0:
            continue
        crosses = any(n > 1 for _, n in group.members[1:])
        link = links[-1] if crosses else links[0]
        factor = {"all_reduce": 2 * (group.size - 1) / group.size, "send_recv": 1.0}.get(kind, (group.size - 1) / group.size)
        out[i] = 20e-6 + factor * size / (0.8 * float(link.bandwidth_bytes_per_s))
    return TransferTimes(time_s=out, low_s=out * 0.8, high_s=out * 1.2, keys=frozenset())
