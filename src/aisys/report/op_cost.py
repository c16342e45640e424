"""One op on one device: its cost, its speed of light, and the numbers that both rest on."""

from dataclasses import dataclass
from typing import Any

from aisys.cost import Tier, cost
from aisys.cost.gpu.limit import work
from aisys.errors import Unsupported
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.machine import Device
from aisys.report.sources import numbers_of
from aisys.units import Sourced


@dataclass(frozen=True, slots=True, kw_only=True)
class OpCost:
    """The cost of one op. low_s, high_s: 90 % interval, NaN where the model was never validated. flop: multiplications
    and additions that it must do (masked parts of attention left out); 0 for ops that only move bytes.

    limit_s: the data sheet's speed of light, NaN for a device whose model has none. traffic_bytes: by memory.
    counts: what the model counted (waves, cycles, ...). numbers: the machine constants that it read.
    """

    kind: str
    columns: FrozenMap[str, Any]
    device: str
    tier: str
    time_s: float
    low_s: float
    high_s: float
    limit_s: float
    energy_joule: float
    traffic_bytes: FrozenMap[str, float]
    flop: float
    bound: str
    counts: FrozenMap[str, float]
    numbers: tuple[Sourced, ...]

    def as_dict(self) -> dict[str, Any]:
        """The document that `aisys op --json` prints."""
        return {
            "op": self.kind, "arguments": dict(self.columns), "device": self.device, "tier": self.tier,
            "time_s": self.time_s, "error": [self.low_s, self.high_s], "limit_s": self.limit_s,
            "energy_joule": self.energy_joule, "flop": self.flop, "traffic_bytes": dict(self.traffic_bytes),
            "bound": self.bound, "counts": dict(self.counts),
            "numbers": [
                {"key": n.key, "value": float(n), "kind": n.kind, "source": n.source} for n in self.numbers
            ],
        }  # fmt: skip


def op_cost(table: OpTable, device: Device, *, tier: Tier = "analytic") -> OpCost:
    """The cost of the first row of `table` on `device`. Raises Unsupported where the device has no model for it."""
    priced = cost(table, device, tier=tier)
    counts = {name: float(values[0]) for name, values in priced.counts.items()}
    known = numbers_of(device)
    return OpCost(
        kind=table.kind, columns=FrozenMap({name: column[0].item() for name, column in table.columns.items()}),
        device=device.name, tier=tier, time_s=float(priced.time_s[0]),
        low_s=float(priced.time_s[0] * priced.error_low[0]), high_s=float(priced.time_s[0] * priced.error_high[0]),
        limit_s=_limit_s(table, device), energy_joule=float(priced.energy_joule[0]),
        traffic_bytes=FrozenMap({name: float(values[0]) for name, values in priced.traffic_bytes.items()}),
        flop=float(work(table).flop[0]), bound=str(priced.bound[0]), counts=FrozenMap(counts),
        numbers=tuple(known[key] for key in sorted(priced.keys) if key in known),
    )  # fmt: skip


def _limit_s(table: OpTable, device: Device) -> float:
    try:
        return float(cost(table, device, tier="limit").time_s[0])
    except Unsupported:
        return float("nan")
