"""Collectives: sends of chunks, what they cost on real links, and the choice a library makes among them.

    from aisys.collective import time
    time(op, num_bytes, ranks, machine, sharing=1, library="") -> CollectiveCost

`op`, `num_bytes`, every count in `ranks` and `sharing` are scalars or arrays of rows and broadcast. `ranks` maps a tier
of `machine.mesh` to the members of the group along it. `CollectiveCost` has arrays time_s, error_low, error_high
(factors on time_s), wire_bytes, algorithm, and the keys of the constants that were read. `limit` answers the same
rows from the data sheet alone. `libraries()` names what `library` may be.

An algorithm is a class in `collective/algorithm/` with the name of its file: it yields the sends that it is made of.
The kit `aisys.testing.check_collective` moves real integers through them, `execute` moves real arrays.
"""

from aisys.collective.execution import Executed, execute
from aisys.collective.pricing import libraries, limit, time
from aisys.collective.types import OPS, Algorithm, ClosedForm, CollectiveCost, Fabric, Send

__all__ = [
    "OPS", "Algorithm", "ClosedForm", "CollectiveCost", "Executed", "Fabric", "Send", "execute", "libraries", "limit",
    "time",
]  # fmt: skip
