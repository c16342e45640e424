"""The answer as one HTML page that needs no network: plots, tables, timeline and sources in a single file."""

from datetime import UTC, datetime
from functools import cache
from html import escape
from importlib.metadata import version
from pathlib import Path

from aisys.errors import BadInput
from aisys.machine import Device
from aisys.report.page.bars import memory_bars, time_bars
from aisys.report.page.charts import roofline, tradeoffs, treemap
from aisys.report.page.hero import hero
from aisys.report.page.ops import has_roofline, op_sections, script_json, timeline_section
from aisys.report.page.origins import origins
from aisys.report.page.plans import plans, tradeoff_section
from aisys.report.store import finite
from aisys.report.types import Frontier
from aisys.report.words import summary

_HERE = Path(__file__).parent
_LINKS = (
    ("plans", "Plans"), ("tradeoffs", "Trade-offs"), ("time", "Time"), ("memory", "Memory"), ("ops", "Layers"),
    ("roofline", "Roofline"), ("timeline", "Timeline"), ("sources", "Sources"),
)  # fmt: skip


def page(frontier: Frontier, device: Device) -> str:
    """The page of an answer on a machine of such devices. Raises BadInput for an answer without a plan."""
    if not frontier.reports:
        raise BadInput("an answer without a plan has no page; show its binding constraint")
    best = frontier.reports[0]
    body = "".join((
        hero(frontier), plans(frontier), tradeoff_section(), time_bars(frontier), memory_bars(frontier),
        op_sections(best, device), timeline_section(best.timeline), origins(best),
    ))  # fmt: skip
    charts = {"tradeoffs": tradeoffs(frontier)}
    if best.ops:
        charts["ops"] = [treemap(best.ops)]
    if has_roofline(best, device):
        charts["roofline"] = [roofline(device, best)]
    links = "".join(f'<a href="#{anchor}">{name}</a>' for anchor, name in _LINKS if f'id="{anchor}"' in body)
    title = f"{frontier.workload} on {frontier.machine}"
    return _SHELL.format(
        title=escape(title), description=escape(summary(frontier)), style=_own("style.css"), links=links, body=body,
        made=f"AISys {version('aisys')}, {datetime.now(UTC):%Y-%m-%d}", figures=script_json(finite(charts)),
        plotly=_plotly(), page=_own("page.js"), timeline=_own("timeline.js"),
    )  # fmt: skip


@cache
def _own(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).replace("</script", "<\\/script")


_SHELL = """<!doctype html>
<html lang=en data-theme=light>
<head>
<meta charset=utf-8>
<meta name=viewport content="width=device-width, initial-scale=1">
<meta name=description content="{description}">
<link rel=icon href="data:,">
<title>{title} - AISys</title>
<style>{style}</style>
<script>
document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
</script>
</head>
<body>
<header class=bar-top><span class=brand>AISys</span><nav aria-label="sections">{links}</nav>
<button id=theme>Dark</button></header>
<main>{body}</main>
<footer>Written by {made}. Predictions are models of machines, not measurements; each interval is checked on rows that
the fits never saw.</footer>
<div id=tip role=tooltip></div>
<script type=application/json id=figures>{figures}</script>
<script>{plotly}</script>
<script>{page}</script>
<script>{timeline}</script>
<script>setTheme(document.documentElement.dataset.theme);</script>
</body>
</html>
"""
