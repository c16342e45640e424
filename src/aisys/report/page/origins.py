"""What the answer rests on: its sources, its assumptions, and how to cite them."""

from html import escape

from aisys.report.page.card import section, table
from aisys.report.sources import Source, bibtex, grouped
from aisys.report.types import Report

MOST_KEYS = 2
"""Numbers of a source that are shown at once; more are folded away."""

_KINDS = {
    "datasheet": "data sheet", "measured": "measured", "fitted": "fitted", "assumed": "assumed",
}  # fmt: skip


def origins(report: Report) -> str:
    """Assumptions, the numbers that were read with their sources, and BibTeX."""
    sources = grouped(report.provenance)
    rows = "".join(map(_row, sources))
    head = "".join(f"<th scope=col>{title}</th>" for title in ("kind", "source", "numbers"))
    assumptions = "".join(f"<li>{escape(text)}</li>" for text in report.assumptions)
    count = sum(len(source.numbers) for source in sources)
    assumed = sum(len(source.numbers) for source in sources if source.kind == "assumed")
    note = (
        f"{count:,} machine and framework numbers were read, {assumed:,} of them assumed. Cost models: the "
        f"{escape(report.tier)} tier. Measured is silicon or a real run; fitted is learned from measured tables; "
        "nobody has checked what is assumed."
    )
    cited = (
        "<details><summary>BibTeX of these sources</summary><p><button data-copy=bibtex>Copy</button></p>"
        f"<pre id=bibtex>{escape(bibtex(sources))}</pre></details>"
    )
    held = f"<h3>Assumptions</h3><ul class=plain>{assumptions}</ul>" if assumptions else ""
    return section("sources", "What this rests on", note, f"{held}<h3>Sources</h3>{table(head, rows)}{cited}")


def _row(source: Source) -> str:
    text = escape(source.text)
    shown = f'<a href="{escape(source.link)}" rel="noopener noreferrer">{text}</a>' if source.link else text
    numbers = ", ".join(f"{escape(key)} = {value:.4g}" for key, value in source.numbers)
    if len(source.numbers) > MOST_KEYS:
        numbers = f"<details><summary>{len(source.numbers)} numbers</summary>{numbers}</details>"
    return (
        f"<tr><td><span class='kind {source.kind}'>{_KINDS[source.kind]}</span></td><td class=source>{shown}</td>"
        f"<td class=keys>{numbers}</td></tr>"
    )
