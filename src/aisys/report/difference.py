"""Two plans side by side: which op, link or wait makes the difference."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aisys.report.parts import part
from aisys.report.quantity import percent, seconds
from aisys.report.types import OpLine, Report
from aisys.report.words import degrees, details, unit_of_time

SMALL = 0.001
"""Parts and ops that change by less than this share of the slower time are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one part or op takes in A and in B, in seconds per step on one device. sort: op, link or wait."""

    label: str
    sort: str
    a_s: float
    b_s: float

    @property
    def gain_s(self) -> float:
        """How much longer B takes."""
        return self.b_s - self.a_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two reports and what changes between them, largest first. Parts add up to the whole difference of times."""

    a: Report
    b: Report
    parts: tuple[Change, ...]
    ops: tuple[Change, ...]

    @property
    def sentence(self) -> str:
        """The difference and its largest cause, in one sentence."""
        a, b = self.a.time_s, self.b.time_s
        unit = unit_of_time(self.a)
        if abs(b - a) <= SMALL * max(a, b):
            return f"Both take {seconds(a)} per {unit}."
        word = "less" if b < a else "more"
        sentence = f"B takes {percent(abs(b - a) / a, 2)} {word} per {unit} ({seconds(a)} -> {seconds(b)})"
        same = [change for change in self.parts if change.gain_s * (b - a) > 0]
        against = [change for change in self.parts if change.gain_s * (b - a) < 0]
        if same:
            sentence += f", mostly {same[0].label} ({same[0].sort}): {_signed(same[0].gain_s)}"
        if against and abs(against[0].gain_s) > 0.1 * abs(b - a):
            sentence += f"; the other way: {against[0].label}, {_signed(against[0].gain_s)}"
        return f"{sentence}."

    def name(self, report: Report) -> str:
        """One line that says which plan a report is of."""
        plan = f"{degrees(report.plan)}, {details(report.plan, report.goal)}"
        return f"{report.workload} on {report.machine}: {plan}"

    def as_dict(self) -> dict[str, Any]:
        """The document that `aisys diff --json` prints."""
        return {
            "a": self._side(self.a), "b": self._side(self.b), "sentence": self.sentence,
            "parts": [_change(change) for change in self.parts], "ops": [_change(change) for change in self.ops],
        }  # fmt: skip

    def _side(self, report: Report) -> dict[str, Any]:
        return {
            "workload": report.workload, "machine": report.machine, "goal": report.goal, "plan": report.plan.as_dict(),
            "time_s": report.time_s, "peak_memory_bytes": report.peak_memory_bytes,
            "energy_joule": report.energy_joule, "usd_per_million": report.usd_per_million,
        }  # fmt: skip


def difference(a: Report, b: Report) -> Difference:
    """What changes from `a` to `b`."""
    least = SMALL * max(a.time_s, b.time_s)
    parts = _changes(a.breakdown_s, b.breakdown_s, {n: (part(n).label, part(n).sort) for n in _both(a, b)}, 0.0)
    ops_a, ops_b = _per_step(a), _per_step(b)
    named = {key: (_op_label(key), part(key[3]).sort) for key in {**ops_a, **ops_b}}
    return Difference(a=a, b=b, parts=parts, ops=_changes(ops_a, ops_b, named, least))


Key = tuple[str, str, str, str]


def _both(a: Report, b: Report) -> list[str]:
    return list(dict.fromkeys([*a.breakdown_s, *b.breakdown_s]))


def _per_step(report: Report) -> dict[Key, float]:
    """Seconds of every op per step on one device: all its repetitions and microbatches, a stage's share of them."""
    times = report.plan.num_microbatches / report.plan.pipeline if report.goal == "train" else 1.0
    out: dict[Key, float] = {}
    for op in report.ops:
        key = _key(op)
        out[key] = out.get(key, 0.0) + op.time_s * op.repeat * times
    return out


def _key(op: OpLine) -> Key:
    return op.block, op.name, op.phase, op.kind


def _op_label(key: Key) -> str:
    block, name, phase, kind = key
    return f"{block}.{name} ({phase.replace('_', ' ')}, {part(kind).label})"


def _changes(
    a: Mapping[Any, float], b: Mapping[Any, float], named: Mapping[Any, tuple[str, str]], least: float
) -> tuple[Change, ...]:
    found = (
        Change(label=label, sort=sort, a_s=a.get(key, 0.0), b_s=b.get(key, 0.0)) for key, (label, sort) in named.items()
    )
    return tuple(sorted((c for c in found if abs(c.gain_s) > least), key=lambda c: -abs(c.gain_s)))


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else '-'}{seconds(abs(value))}"


def _change(change: Change) -> dict[str, Any]:
    return {
        "label": change.label, "sort": change.sort, "a_s": change.a_s, "b_s": change.b_s, "b_minus_a_s": change.gain_s,
    }  # fmt: skip
