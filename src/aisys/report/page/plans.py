"""The table of plans, and the plot of what their time is traded against."""

from collections.abc import Iterable
from html import escape

from aisys.report.page.card import section, table
from aisys.report.page.charts import TRADEOFFS
from aisys.report.quantity import gigabytes, interval, number, percent, scaled, seconds
from aisys.report.types import Frontier, Report
from aisys.report.words import degrees, details, joule_per_million

_TITLES = (
    "", "plan", "time", "90 % interval", "{unit}s/s", "MFU", "peak memory", "energy/M{unit}", "USD/M{unit}",
)  # fmt: skip


def plans(frontier: Frontier) -> str:
    """The table of plans, best first; every title sorts."""
    low, high = _range(frontier.reports)
    has_mfu = any("mfu" in r.metrics for r in frontier.reports)
    unit = frontier.reports[0].unit
    titles = [title for title in _TITLES if has_mfu or title != "MFU"]
    head = "".join(
        f"<th{'' if title in ('', 'plan') else ' class=number'} scope=col><button>{title or '#'}</button></th>"
        for title in (title.format(unit=unit) for title in titles)
    )
    rows = []
    for place, report in enumerate(frontier.reports):
        cells = _cells(frontier, place, (low, high))
        shown = "".join(cells[title] for title in titles)
        rows.append(f'<tr data-place="{place}"{" class=best" if place == 0 else ""}>{shown}</tr>')
        if report.reason:
            rows[-1] = rows[-1].replace("<tr ", f'<tr data-tip="{escape(report.reason)}" ', 1)
    impossible = f", {frontier.num_pruned:,} of them impossible" if frontier.num_pruned else ""
    objectives = " and ".join(map(_objective, frontier.objectives))
    note = (
        f"{frontier.num_evaluated:,} plans evaluated{impossible}. Shown are the "
        f"fastest that fit and those that no other beats in {escape(objectives)} "
        "<span class=together>(<span class='rank front'>n</span>).</span> A click on a title sorts."
    )
    return section("plans", "Best plans", note, table(head, "".join(rows)))


def _objective(name: str) -> str:
    return {"time_s": "time", "energy_joule": "energy", "peak_memory_bytes": "memory"}.get(name, name)


def _range(reports: Iterable[Report]) -> tuple[float, float]:
    ends = [end for r in reports for end in (r.low_s, r.high_s, r.time_s) if end == end]
    return min(ends), max(ends)


def _cells(frontier: Frontier, place: int, ends: tuple[float, float]) -> dict[str, str]:
    report = frontier.reports[place]
    is_front = place in frontier.pareto and len(frontier.pareto) > 1
    rank = f"<span class='rank{' front' * is_front}'>{place + 1}</span>"
    name = (
        f"<span class=plan>{escape(degrees(report.plan))}</span>"
        f"<br><span class=sub>{escape(details(report.plan, report.goal))}</span>"
    )
    share = report.peak_memory_bytes / report.capacity_bytes
    over = " class=over" if share > 1 else ""
    meter = f'<span class=meter><i{over} style="width:{min(100, share * 100):.1f}%"></i></span>'
    mfu = report.metrics.get("mfu", float("nan"))
    joule = joule_per_million(report)
    return {
        "": _cell(rank, place, ""), "plan": _cell(name, degrees(report.plan), ""),
        "time": _cell(seconds(report.time_s), report.time_s),
        "90 % interval": _cell(_span(report, ends), report.high_s - report.low_s),
        "{unit}s/s": _cell(number(report.throughput_per_s), report.throughput_per_s), "MFU": _cell(percent(mfu), mfu),
        "peak memory": _cell(f"{gigabytes(report.peak_memory_bytes)}{meter}", report.peak_memory_bytes),
        "energy/M{unit}": _cell(scaled(joule, "J"), joule),
        "USD/M{unit}": _cell(number(report.usd_per_million), report.usd_per_million),
    }  # fmt: skip


def _cell(shown: str, key: float | str, side: str = " class=number") -> str:
    value = escape(key) if isinstance(key, str) else f"{key:.8g}" if key == key else ""
    return f'<td{side} data-key="{value}">{shown}</td>'


def _span(report: Report, ends: tuple[float, float]) -> str:
    """The interval as a line with a dot, on one scale for all plans."""
    if report.low_s != report.low_s:
        return "not validated"
    low, high = ends
    scale = 98 / (high - low) if high > low else 0.0
    left, dot, right = (6 + (value - low) * scale for value in (report.low_s, report.time_s, report.high_s))
    words = interval(report.low_s, report.high_s)
    return (
        f'<svg class=span viewBox="0 0 110 18" role=img aria-label="{words}" data-tip="90 %: {words}">'
        f'<line x1="{left:.1f}" x2="{right:.1f}" y1=9 y2=9 /><circle cx="{dot:.1f}" cy=9 r=4.5 /></svg>'
    )


def tradeoff_section() -> str:
    """The plot of time against memory, energy or price."""
    buttons = "".join(
        f"<button data-chart=tradeoffs data-version={i} aria-pressed={'true' if i == 0 else 'false'}>{name}</button>"
        for i, (name, _, _) in enumerate(TRADEOFFS)
    )
    body = f"<div class=choices><span>Time against</span>{buttons}</div><div class=chart id=chart-tradeoffs></div>"
    return section(
        "tradeoffs", "Trade-offs", "Each dot is one of the plans above; further left and lower is better.", body
    )
