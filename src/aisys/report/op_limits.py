"""The ops of a plan beside what the data sheet of their device allows."""

from typing import Any

from aisys.machine import Device
from aisys.report.types import Report


def op_limits(report: Report, device: Device) -> list[dict[str, Any]]:
    """One entry per op, costliest first: its time, the least time of its flop and of its bytes, and time over both.

    Bytes count at main memory's bandwidth: over_limit falls below 1 where they stay in a shared cache. Transfers have
    no such limit: their compute_s, memory_s and over_limit are 0. Peaks are those of the plan's precision.
    """
    total = sum(op.time_s * op.repeat for op in report.ops)
    peak = float(getattr(device.architecture, "flop_per_s", {}).get(report.plan.precision, 0.0))
    bandwidth = float(device.main_memory.bandwidth_bytes_per_s)
    rows = []
    for op in sorted(report.ops, key=lambda op: -op.time_s * op.repeat):
        is_transfer = op.bound.endswith("link")
        compute = op.flop / peak if peak and op.kind in ("matmul", "grouped_matmul", "conv", "attention") else 0.0
        memory = 0.0 if is_transfer else op.traffic_bytes / bandwidth
        least = max(compute, memory)
        rows.append({
            "block": op.block, "name": op.name, "phase": op.phase, "kind": op.kind, "repeat": op.repeat,
            "time_s": op.time_s, "share": op.time_s * op.repeat / total if total else 0.0, "flop": op.flop,
            "traffic_bytes": op.traffic_bytes, "compute_s": compute, "memory_s": memory,
            "over_limit": op.time_s / least if least else 0.0, "bound": op.bound,
        })  # fmt: skip
    return rows
