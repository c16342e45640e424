"""The top of the page: the question, the best plan, its key figures, and what rules out the rest."""

from collections.abc import Iterable
from html import escape

from aisys.report.quantity import gigabytes, interval, number, percent, scaled, seconds
from aisys.report.types import Frontier, Report
from aisys.report.words import degrees, joule_per_million, summary, unit_of_time, verb


def hero(frontier: Frontier) -> str:
    """The question, the best plan, the answer in one sentence, the key figures, and what binds."""
    what = f"How to {verb(frontier.goal)} <b>{escape(frontier.workload)}</b> on <b>{escape(frontier.machine)}</b>"
    best = frontier.reports[0]
    tiles = "".join(
        f"<div class=tile><dt>{name}</dt><dd>{value}<small>{extra}</small></dd></div>"
        for name, value, extra in _tiles(best)
    )
    binding = escape(frontier.binding_constraint)
    return (
        f'<section class="hero"><p class="eyebrow">{what}</p><h1>{escape(degrees(best.plan))}</h1>'
        f'<p class="lead">{escape(summary(frontier))}</p><dl class="tiles">{tiles}</dl>'
        f'<p class="binding"><b>What rules out the rest:</b> {binding}</p></section>'
    )


def _tiles(best: Report) -> Iterable[tuple[str, str, str]]:
    unit = unit_of_time(best)
    yield f"Time per {unit}", seconds(best.time_s), f"90 %: {interval(best.low_s, best.high_s)}"
    if "ttft_s" in best.metrics:
        yield "Time to first token", seconds(best.metrics["ttft_s"]), "one prompt batch"
    mfu = best.metrics.get("mfu")
    devices = f"{best.plan.num_devices} device{'s' * (best.plan.num_devices > 1)}"
    yield "Throughput", f"{number(best.throughput_per_s)}", f"{best.unit}s/s on {devices}"
    if mfu is not None:
        yield "Model flop utilisation", percent(mfu), "of the data sheet's peak"
    share = best.peak_memory_bytes / best.capacity_bytes
    yield "Peak memory", gigabytes(best.peak_memory_bytes), f"{percent(share, 2)} of {gigabytes(best.capacity_bytes)}"
    yield "Energy", scaled(joule_per_million(best), "J"), f"per million {best.unit}s"
    yield "Price", f"{number(best.usd_per_million)} USD", f"per million {best.unit}s"
