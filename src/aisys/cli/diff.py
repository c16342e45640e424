"""`aisys diff`: which op, link or wait makes the difference between two runs."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from aisys.report.difference import Difference

RunA = Annotated[str, typer.Argument(metavar="RUN_A", help="Folder or run.json of aisys plan; RUN:3 is its plan 3.")]
RunB = Annotated[str, typer.Argument(metavar="RUN_B", help="The run to compare it with.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
MOST_OPS = 10


def diff(a: RunA, b: RunB, *, json: Json = False) -> None:
    """Compare two saved runs: time, memory and price, and the ops, links and waits that make the difference.

    A run is the folder that `aisys plan` wrote. Its best plan is taken, or the one after a colon.

    **Examples**

    - `aisys diff aisys-out/llama-3.1-8b-dgx-a100-train aisys-out/llama-3.1-8b-dgx-h100-train`
    - `aisys diff aisys-out/llama-3.1-8b-dgx-h100-train:1 aisys-out/llama-3.1-8b-dgx-h100-train:2 --json`
    """
    from aisys.cli.output import emit_json
    from aisys.report.difference import difference
    from aisys.report.store import load_report

    found = difference(load_report(a), load_report(b))
    if json:
        emit_json(found.as_dict())
    else:
        _show(found)


def _show(found: "Difference") -> None:
    from rich.table import Table

    from aisys.cli.output import console
    from aisys.report.quantity import seconds

    out = console()
    out.print(f"[bold]{found.sentence}[/]")
    out.print(f"[dim]A: {found.name(found.a)}\nB: {found.name(found.b)}[/]\n")
    for title, changes in (("part", found.parts), ("op", found.ops[:MOST_OPS])):
        if not changes:
            continue
        table = Table(box=None, header_style="bold", pad_edge=False)
        for column in (title, "what", "A", "B", "B - A"):
            table.add_column(column, justify="left" if column in (title, "what") else "right")
        for change in changes:
            sign = "+" if change.gain_s > 0 else "-"
            table.add_row(
                change.label,
                change.sort,
                seconds(change.a_s),
                seconds(change.b_s),
                f"{sign}{seconds(abs(change.gain_s))}",
            )
        out.print(table, "")
