"""The interactive charts as plain dictionaries of traces and axes; colours that start with -- follow the theme."""

from collections.abc import Callable, Sequence
from math import ceil, floor, log10
from typing import Any

from aisys.machine import Device
from aisys.report.parts import part
from aisys.report.quantity import gigabytes, interval, number, scaled, seconds, time_unit
from aisys.report.roofline import Point, Roofline, points
from aisys.report.types import Frontier, OpLine, Report
from aisys.report.words import degrees, details, joule_per_million, unit_of_time

Chart = dict[str, Any]

TRADEOFFS: tuple[tuple[str, str, Callable[[Report], float]], ...] = (
    ("Memory", "peak memory per device, GB", lambda r: r.peak_memory_bytes / 1e9),
    ("Energy", "energy per million {unit}s, kJ", lambda r: joule_per_million(r) / 1e3),
    ("Price", "USD per million {unit}s", lambda r: r.usd_per_million),
)
"""What the time of a plan is traded against: name, axis title, value."""


def tradeoffs(frontier: Frontier) -> list[Chart]:
    """Time against memory, energy and price, one chart each; plans that no other beats in both stand on a line."""
    return [_tradeoff(frontier, title, value) for _, title, value in TRADEOFFS]


def _tradeoff(frontier: Frontier, title: str, value: Callable[[Report], float]) -> Chart:
    reports = [(place, r) for place, r in enumerate(frontier.reports) if r.time_s > 0]
    front = front_of([(r.time_s, value(r)) for _, r in reports])
    factor, unit = time_unit(max((r.time_s for _, r in reports), default=1.0))
    groups = (
        ("other plans", [reports[i] for i in range(len(reports)) if i not in front], "--muted", "markers"),
        ("best in time or in this", [reports[i] for i in front], "--accent", "lines+markers"),
    )
    data = [_plan_dots(name, group, value, (colour, mode, factor)) for name, group, colour, mode in groups if group]
    x_title = f"time per {unit_of_time(frontier.reports[0])}, {unit} (bars: 90 % interval)"
    y_title = title.format(unit=frontier.reports[0].unit)
    return {"data": data, "layout": {"xaxis": {"title": {"text": x_title}}, "yaxis": {"title": {"text": y_title}}}}


def _plan_dots(
    name: str, group: Sequence[tuple[int, Report]], value: Callable[[Report], float], look: tuple[str, str, float]
) -> Chart:
    """One trace of plans. look: colour, mode, and the factor from seconds to the axis's unit."""
    colour, mode, factor = look
    errors = [((r.high_s - r.time_s) * factor, (r.time_s - r.low_s) * factor) for _, r in group]
    return {
        "type": "scatter", "mode": mode, "name": name, "x": [r.time_s * factor for _, r in group],
        "y": [value(r) for _, r in group], "customdata": [place for place, _ in group],
        "text": [f"<b>{place + 1}. {degrees(r.plan)}</b><br>{_figures(r)}" for place, r in group],
        "hovertemplate": "%{text}<extra></extra>", "line": {"color": colour, "width": 1.5, "dash": "dot"},
        "marker": {"color": colour, "size": 11, "line": {"color": "--card", "width": 1.5}},
        "error_x": {
            "type": "data", "symmetric": False, "array": [up for up, _ in errors],
            "arrayminus": [down for _, down in errors], "color": colour, "thickness": 1, "width": 0,
        },
    }  # fmt: skip


def _figures(report: Report) -> str:
    return (
        f"{details(report.plan, report.goal)}<br>{seconds(report.time_s)} ({interval(report.low_s, report.high_s)})<br>"
        f"{number(report.throughput_per_s)} {report.unit}s/s, {gigabytes(report.peak_memory_bytes)}<br>"
        f"{scaled(joule_per_million(report), 'J')} and {number(report.usd_per_million)} USD per million {report.unit}s"
    )


def front_of(values: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the pairs that no other pair is at most as large as in both, by growing first value.

    >>> front_of([(1, 9), (2, 5), (3, 7), (4, 1)])
    [0, 1, 3]
    """
    kept: list[int] = []
    for place in sorted(range(len(values)), key=lambda i: values[i]):
        if not kept or values[place][1] < values[kept[-1]][1]:
            kept.append(place)
    return kept


def treemap(ops: Sequence[OpLine]) -> Chart:
    """The time of all repetitions of every op: an area per block, in it one per phase and op."""
    blocks = dict.fromkeys(op.block for op in ops)
    repeat = {op.block: op.repeat for op in ops}
    ids, labels, parents, values, colours, texts, hovers = [], [], [], [], [], [], []
    for block in blocks:
        ids.append(block)
        labels.append(f"{block} x {repeat[block]}")
        parents.append("")
        values.append(sum(op.time_s * op.repeat for op in ops if op.block == block))
        colours.append("--soft")
        texts.append(seconds(values[-1]))
        hovers.append(texts[-1])
    for place, op in enumerate(ops):
        ids.append(f"{op.block}/{place}")
        labels.append(op.name)
        parents.append(op.block)
        values.append(op.time_s * op.repeat)
        colours.append(part(op.kind).colour)
        texts.append(f"{op.phase.replace('_', ' ')}<br>{seconds(op.time_s)} x {op.repeat}")
        hovers.append(f"{texts[-1]}<br>{part(op.kind).label}, bound by {op.bound}")
    trace = {
        "type": "treemap", "ids": ids, "labels": labels, "parents": parents, "values": values, "text": texts,
        "customdata": hovers, "hovertemplate": "<b>%{label}</b><br>%{customdata}<extra></extra>",
        "branchvalues": "total", "textinfo": "label+text",
        "marker": {
            "colors": colours, "line": {"width": 1, "color": "--card"}, "pad": {"t": 24, "l": 3, "r": 3, "b": 3},
        },
        "pathbar": {"visible": False}, "tiling": {"pad": 1},
    }  # fmt: skip
    layout = {"margin": {"l": 0, "r": 0, "t": 4, "b": 0}, "uniformtext": {"minsize": 9, "mode": "hide"}}
    return {"data": [trace], "layout": layout}


def roofline(device: Device, report: Report) -> Chart:
    """Every op over the roofs of the device: operations per byte against operations per second."""
    roofs, found = Roofline.of(device), points(report.ops)
    low = min([p.intensity for p in found] + [1.0]) / 3
    high = max([p.intensity for p in found] + [roofs.ridge]) * 4
    lowest = min([p.flop_per_s for p in found] + [peak for _, peak in roofs.peaks]) / 3
    highest = max([p.flop_per_s for p in found] + [peak for _, peak in roofs.peaks]) * 2
    data = [
        trace for name, peak in roofs.peaks
        for trace in _roof(name, peak, (low, high), (roofs.bytes_per_s, report.plan.precision in name.split(", ")))
    ]  # fmt: skip
    data += [_dots(kind, found) for kind in dict.fromkeys(p.kind for p in found)]
    layout = {
        "xaxis": _log_axis("operations per byte", low, high, ""),
        "yaxis": _log_axis("operations per second", lowest, highest, "flop/s"),
    }
    return {"data": data, "layout": layout}


def _roof(name: str, peak: float, ends: tuple[float, float], look: tuple[float, bool]) -> list[Chart]:
    """One peak over the slope of the memory, and its name. look: the slope, and whether the plan computes in it."""
    slope, is_own = look
    low, high = ends
    xs = [x for x in (low, peak / slope, high) if low <= x <= high]
    line = {"width": 2.5 if is_own else 1, "dash": "solid" if is_own else "dot"}
    colour, hidden = "--ink" if is_own else "--muted", {"hoverinfo": "skip", "showlegend": False}
    ys = [min(peak, x * slope) for x in xs]
    return [
        {"type": "scatter", "mode": "lines", "x": xs, "y": ys, "line": {**line, "color": colour}, **hidden},
        {
            "type": "scatter", "mode": "text", "x": [max(low, min(high, peak / slope))], "y": [peak],
            "text": [f"{name} {scaled(peak, 'flop/s')}"], "cliponaxis": False,
            "textposition": "top left", "textfont": {"color": colour, "size": 12}, **hidden,
        },
    ]  # fmt: skip


def _dots(kind: str, found: Sequence[Point]) -> Chart:
    """The ops of one kind; the area of a dot grows with the op's time."""
    longest = max(p.time_s for p in found)
    group = [p for p in found if p.kind == kind]
    sizes = [8 + 22 * (p.time_s / longest) ** 0.5 for p in group]
    rim = {"color": "--card", "width": 1}
    return {
        "type": "scatter", "mode": "markers", "name": part(kind).label, "x": [p.intensity for p in group],
        "y": [p.flop_per_s for p in group], "text": [p.label for p in group],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": part(kind).colour, "opacity": 0.85, "size": sizes, "line": rim},
    }  # fmt: skip


def _log_axis(title: str, low: float, high: float, unit: str) -> dict[str, Any]:
    """A logarithmic axis from `low` to `high` with a mark per decade."""
    decades = [10.0**power for power in range(floor(log10(low)), ceil(log10(high)) + 1)]
    names = [scaled(value, unit, 1) if unit else f"{value:,g}" for value in decades]
    ends = [log10(low), log10(high)]
    return {"type": "log", "title": {"text": title}, "tickvals": decades, "ticktext": names, "range": ends}
