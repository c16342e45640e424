"""The answer in a terminal: one sentence, a table of the best plans, and what rules out the rest."""

from typing import TYPE_CHECKING

from aisys.report.parts import in_order, part
from aisys.report.quantity import gigabytes, interval, number, percent, scaled, seconds
from aisys.report.types import Frontier, Report
from aisys.report.words import degrees, details, joule_per_million, million, summary, unit_of_time

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

BAR_WIDTH = 60
FULL_WIDTH = 118


def renderables(frontier: Frontier, *, num_plans: int = 10, width: int = FULL_WIDTH) -> "list[RenderableType]":
    """What to print, in order, for the first `num_plans` plans, on a terminal of `width` characters."""
    from rich.text import Text

    out: list[RenderableType] = [Text(summary(frontier), style="bold"), ""]
    if frontier.reports:
        out += [plan_table(frontier.reports[:num_plans], width), ""]
        out += _where_time_goes(frontier.reports[0], width)
    if frontier.binding_constraint:
        text = Text("Binding constraint: ", style="bold")
        out.append(text.append(Text(frontier.binding_constraint, style="not bold")))
    return out


def plan_table(reports: tuple[Report, ...], width: int = FULL_WIDTH) -> "Table":
    """One row per plan, best first."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", justify="right", style="dim")
    table.add_column("plan", min_width=22)
    first = reports[0]
    many = million(first.unit)
    titles = (
        f"time/{unit_of_time(first)}", "90 % interval", f"{first.unit}s/s", "MFU", "memory", f"energy/{many}",
        f"USD/{many}",
    )  # fmt: skip
    shown = [title for title in titles if title != "MFU" or any("mfu" in r.metrics for r in reports)]
    dropped_first = (titles[-2], "MFU", titles[-1])
    for title in dropped_first[: max(0, -(-(FULL_WIDTH - width) // 12))]:
        shown = [other for other in shown if other != title]
    for title in shown:
        table.add_column(title, justify="right", no_wrap=True)
    for place, report in enumerate(reports, start=1):
        cells = dict(zip(titles, _figures(report), strict=True))
        plan = Text(degrees(report.plan)).append(f"\n{details(report.plan, report.goal)}", style="dim")
        table.add_row(str(place), plan, *(cells[title] for title in shown))
    return table


def _figures(report: Report) -> tuple[str, ...]:
    share = report.peak_memory_bytes / report.capacity_bytes if report.capacity_bytes else float("nan")
    return (
        seconds(report.time_s), interval(report.low_s, report.high_s), number(report.throughput_per_s),
        percent(report.metrics.get("mfu", float("nan"))),
        f"{gigabytes(report.peak_memory_bytes)} {percent(share, 2)}", scaled(joule_per_million(report), "J"),
        number(report.usd_per_million),
    )  # fmt: skip


def _where_time_goes(report: Report, width: int) -> "list[RenderableType]":
    """A bar of the best plan's time by part, and its legend."""
    from rich.text import Text

    whole = sum(report.breakdown_s.values())
    names = [name for name in in_order(report.breakdown_s) if report.breakdown_s[name] > 0.004 * whole]
    if not names:
        return []
    bar, legend = Text(), [Text()]
    for name in names:
        share = report.breakdown_s[name] / whole
        bar.append("\u2588" * max(1, round(share * BAR_WIDTH)), style=part(name).colour)
        words = f"{part(name).label} {percent(share, 2)}   "
        if len(legend[-1]) + len(words) + 2 > width:
            legend.append(Text())
        legend[-1].append("\u25a0 ", style=part(name).colour).append(words)
    return [Text("Where the time of the best plan goes", style="dim"), bar, *legend, ""]
