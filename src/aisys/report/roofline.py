"""The roofline of a device, and where ops stand under it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from aisys.machine import Device
from aisys.report.quantity import number, scaled, seconds
from aisys.report.types import OpLine

LEAST_SHARE = 1e-4
"""Of the time of all ops; an op that takes less is not drawn, for it would stretch the axes."""

SHOWN = ("fp32", "tf32", "bf16", "fp8", "nvfp4", "int8")


@dataclass(frozen=True, slots=True)
class Roofline:
    """peaks: number format and its dense peak, lowest first; formats of one peak share a line."""

    bytes_per_s: float
    peaks: tuple[tuple[str, float], ...]

    @classmethod
    def of(cls, device: Device) -> Self:
        """The roofs of `device`: its main memory's bandwidth and the peaks of the formats that plans use."""
        found: dict[float, str] = {}
        for name, peak in getattr(device.architecture, "flop_per_s", {}).items():
            if name in SHOWN:
                found[float(peak)] = f"{found[float(peak)]}, {name}" if float(peak) in found else name
        peaks = tuple((name, peak) for peak, name in sorted(found.items()))
        return cls(float(device.main_memory.bandwidth_bytes_per_s), peaks)

    @property
    def ridge(self) -> float:
        """Operations per byte from which the highest peak can be reached; 1 for a device without peaks."""
        return max((peak for _, peak in self.peaks), default=self.bytes_per_s) / self.bytes_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One op under the roofs. time_s: of all repetitions. label: what a reader sees on it."""

    kind: str
    intensity: float
    flop_per_s: float
    time_s: float
    label: str


def points(ops: Sequence[OpLine]) -> list[Point]:
    """The ops that calculate and move bytes and take LEAST_SHARE of the time; transfers have no place under a roof."""
    least_s = LEAST_SHARE * sum(op.time_s * op.repeat for op in ops)
    return [
        Point(
            kind=op.kind, intensity=op.flop / op.traffic_bytes, flop_per_s=op.flop / op.time_s,
            time_s=op.time_s * op.repeat,
            label=_label(op),
        )
        for op in ops
        if op.flop > 0 and op.traffic_bytes > 0 and op.time_s * op.repeat > least_s
    ]  # fmt: skip


def _label(op: OpLine) -> str:
    rate, intensity = scaled(op.flop / op.time_s, "flop/s"), number(op.flop / op.traffic_bytes)
    return (
        f"<b>{op.name}</b> ({op.phase.replace('_', ' ')}, {op.block})<br>{seconds(op.time_s)} x {op.repeat}, "
        f"bound by {op.bound}<br>{rate}, {intensity} per byte"
    )
