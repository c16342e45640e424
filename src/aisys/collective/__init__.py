"""Collectives: sends of chunks, what they cost on real links, and the choice a library makes among them.

    from aisys.collective import time
    time(op, num_bytes, ranks, machine, sharing=1, library="nccl") -> CollectiveCost

`op`, `num_bytes`, every count in `ranks` and `sharing` are scalars or arrays of rows and broadcast. `machine` is a
Machine (its mesh and links are read). `CollectiveCost` has arrays time_s, error_low, error_high (factors on time_s),
wire_bytes, algorithm, and the keys of the constants that were read.
"""

from aisys.collective.pricing import time
from aisys.collective.types import OPS, Algorithm, ClosedForm, CollectiveCost, Send

__all__ = ["OPS", "Algorithm", "ClosedForm", "CollectiveCost", "Send", "time"]
