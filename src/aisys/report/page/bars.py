"""Stacked bars: where the time of each plan goes, and what fills its memory."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from html import escape

from aisys.report.page.card import section
from aisys.report.parts import Part, in_order, memory_part, part
from aisys.report.quantity import gigabytes, percent, seconds
from aisys.report.types import Frontier, Report
from aisys.report.words import degrees, unit_of_time

MOST_BARS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """What the bars of one figure share: the value at full width, a limit to mark (0: none), names and units."""

    whole: float
    limit: float
    part_of: Callable[[str], Part]
    show: Callable[[float], str]


def time_bars(frontier: Frontier) -> str:
    """Where the time goes: one stacked bar per plan."""
    shown = frontier.reports[:MOST_BARS]
    longest = max(sum(r.breakdown_s.values()) for r in shown)
    scale = _Scale(whole=longest, limit=0.0, part_of=part, show=seconds)
    rows = [_bar(_name(i, r), r.breakdown_s, seconds(r.time_s), scale) for i, r in enumerate(shown)]
    note = (
        f"One {unit_of_time(shown[0])} on the busiest device. Blues, violet and green calculate; yellow to red and "
        "brown moves data between devices; pink and grey wait. Communication that runs under calculation is not "
        "counted."
    )
    legend = _legend((name for r in shown for name, s in r.breakdown_s.items() if s > 0), part)
    return section("time", "Where the time goes", note, f"<div class=bars>{''.join(rows)}</div>{legend}")


def memory_bars(frontier: Frontier) -> str:
    """What fills the fullest device: one stacked bar per plan against the capacity."""
    shown = frontier.reports[:MOST_BARS]
    capacity = shown[0].capacity_bytes
    most = max(capacity, *(sum(r.memory_bytes.values()) for r in shown)) * 1.02
    scale = _Scale(whole=most, limit=capacity, part_of=memory_part, show=gigabytes)
    rows = [_bar(_name(i, r), r.memory_bytes, gigabytes(r.peak_memory_bytes), scale) for i, r in enumerate(shown)]
    note = f"The fullest device of each plan at its peak; the upright line is its capacity, {gigabytes(capacity)}."
    legend = _legend((name for r in shown for name, held in r.memory_bytes.items() if held > 0), memory_part)
    return section("memory", "What fills the memory", note, f"<div class=bars>{''.join(rows)}</div>{legend}")


def _name(place: int, report: Report) -> str:
    return f"{place + 1}. {degrees(report.plan)}"


def _bar(name: str, parts: Mapping[str, float], value: str, scale: _Scale) -> str:
    total = sum(parts.values())
    pieces = []
    for key in in_order(parts):
        if parts[key] <= 0:
            continue
        look = scale.part_of(key)
        words = f"{look.label}: {scale.show(parts[key])}, {percent(parts[key] / total, 2)}"
        width = 100 * parts[key] / scale.whole
        pieces.append(f'<i style="width:{width:.3f}%;background:{look.colour}" data-tip="{escape(words)}"></i>')
    if scale.limit:
        left = 100 * scale.limit / scale.whole
        pieces.append(f'<i class=limit style="left:{left:.3f}%" data-tip="capacity: {scale.show(scale.limit)}"></i>')
    said = ", ".join(f"{scale.part_of(key).label} {scale.show(parts[key])}" for key in in_order(parts))
    return (
        f'<div class=name title="{escape(name)}">{escape(name)}</div>'
        f'<div class=stack role=img aria-label="{escape(said)}">{"".join(pieces)}</div><div class=value>{value}</div>'
    )


def _legend(names: Iterable[str], part_of: Callable[[str], Part]) -> str:
    looks = [part_of(name) for name in in_order(set(names))]
    items = "".join(f'<li><i style="background:{look.colour}"></i>{escape(look.label)}</li>' for look in looks)
    return f"<ul class=legend>{items}</ul>"
