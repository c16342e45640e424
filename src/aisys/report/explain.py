"""Why one op takes as long as it does: the data sheet's limit, the model's steps, and what bounds it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aisys.cost import Tier, cost
from aisys.cost.gpu import limit
from aisys.ir import OpTable
from aisys.machine import Device, Gpu
from aisys.report.op_cost import OpCost, op_cost
from aisys.report.quantity import interval, number, scaled, seconds
from aisys.report.steps import Step, quantity, steps_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The op's cost, the steps to the data sheet's limit (none for a device without one), and the model's own."""

    cost: OpCost
    limit: tuple[Step, ...]
    model: tuple[Step, ...]

    @property
    def sentence(self) -> str:
        """The time and what bounds it, in one sentence."""
        c = self.cost
        words = f"{c.kind} on {c.device} takes {seconds(c.time_s)}, bound by {c.bound}"
        if c.low_s == c.low_s:
            words += f" (90 %: {interval(c.low_s, c.high_s)})"
        if c.limit_s == c.limit_s:
            words += f"; {number(c.time_s / c.limit_s)} times its data sheet's limit of {seconds(c.limit_s)}"
        return f"{words}."

    def as_dict(self) -> dict[str, Any]:
        """The document that `aisys explain --json` prints."""
        steps = {"limit": self.limit, "model": self.model}
        return self.cost.as_dict() | {
            name: [
                {"place": s.place, "name": s.name, "formula": s.formula, "numbers": s.numbers, "value": s.value}
                for s in found
            ]
            for name, found in steps.items()
        } | {"sentence": self.sentence}  # fmt: skip


def explain(table: OpTable, device: Device, *, tier: Tier = "analytic") -> Explanation:
    """The explanation of the first row of `table`. Raises Unsupported where the device has no model for it."""
    one = table.take([0])  # type: ignore[arg-type]  # a list of rows indexes as an array does
    priced = op_cost(one, device, tier=tier)
    return Explanation(
        cost=priced, limit=tuple(_limit_steps(one, device)),
        model=() if tier == "limit" else tuple(steps_of(lambda: cost(one, device, tier=tier))),
    )  # fmt: skip


_FLOP: Mapping[str, str] = {
    "matmul": "2 * {batch} * {m} * {n} * {k}",
    "grouped_matmul": "2 * {m} * {n} * {k}",
    "conv": "2 * {batch} * {out_h} * {out_w} * {groups} * {out_channels} * {in_channels} * {kernel_h} * {kernel_w}",
    "attention": "2 * {batch} * {q_heads} * {pairs} * ({head_dim} + {value_dim})",
}
"""Operations that each kind must do; pairs: queries and keys that the mask leaves over."""


def _limit_steps(table: OpTable, device: Device) -> list[Step]:
    gpu = device.architecture
    if not isinstance(gpu, Gpu):
        return []
    work = limit.work(table)
    flop = float(work.flop[0])
    steps: list[Step] = []
    if table.kind in _FLOP and flop:
        values = {name: column[0].item() for name, column in table.columns.items()}
        if table.kind == "attention":
            values["pairs"] = float(limit.scores(table)[0])
        names = _FLOP[table.kind].format_map({name: name for name in values})
        numbers = _FLOP[table.kind].format_map({n: quantity(n, float(v)) for n, v in values.items() if _is_number(v)})
        backward = " * 2.5" if values.get("is_backward") else ""
        steps.append(Step("limit", "flop", names + backward, numbers + backward, flop))
        math = str(work.math[0])
        peak = limit.peak_flop_per_s(gpu, math)
        formula, filled = f"flop / peak of {math}", f"{scaled(flop, 'flop')} / {scaled(peak, 'flop/s')}"
        steps.append(Step("limit", "compute_s", formula, filled, float(limit.compute_s(work, device)[0])))
    steps += steps_of(lambda: limit.memory_s(work, device), only="limit")
    parts = [s for s in steps if s.name in ("compute_s", "memory_s")]
    formula, filled = (f"max({', '.join(words)})" for words in ([s.name for s in parts], [s.shown for s in parts]))
    return [*steps, Step("limit", "limit_s", formula, filled, max(s.value for s in parts))]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
