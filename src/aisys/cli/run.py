"""`aisys run`: an evaluation or a sweep that a file describes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from aisys.cli.sweep import Point

Study = Annotated[Path, typer.Argument(metavar="STUDY.toml", help="What to plan, and what to vary.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder for the results; default: aisys-out/.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def run(study: Study, *, out: Out = None, json: Json = False) -> None:
    """Plan every point of a study that a TOML file describes; what is done is kept when it is stopped.

    The file holds the options of `aisys plan` by name, and under [sweep] lists of values to try in every combination:

        workload = "llama-3.1-8b"
        machine = "dgx-h100"
        for = "train"

        [sweep]
        machine = ["dgx-a100", "dgx-h100"]
        tokens = [2048, 8192]

    **Examples**

    - `aisys run my-study.toml`
    - `aisys run my-study.toml --out results --json`
    """
    from aisys.cli.output import emit_json
    from aisys.cli.sweep import points, read_study, table_csv
    from aisys.report.files import write_files

    found = read_study(study)
    folder = out or (None if json else Path("aisys-out") / study.stem)
    done: list[Point] = []
    try:
        done.extend(points(found, is_shown=not json))
    finally:
        if folder and done:
            write_files(folder, {"points.csv": table_csv(done)})
    if json:
        emit_json({"study": study.stem, "points": [point.as_dict() for point in done]})
    else:
        _show(done, folder)
    if not any(point.frontier for point in done):
        raise typer.Exit(1)


def _show(done: "list[Point]", folder: Path | None) -> None:
    from rich.table import Table

    from aisys.cli.output import console
    from aisys.report.quantity import gigabytes, interval, number, seconds
    from aisys.report.words import degrees, million

    table = Table(box=None, header_style="bold", pad_edge=False)
    units = {point.frontier.reports[0].unit for point in done if point.frontier}
    unit = units.pop() if len(units) == 1 else "item"
    titles = ("best plan", "time", "90 % interval", f"{unit}s/s", "memory", f"USD/{million(unit)}")
    for title in (*done[0].settings, *titles):
        table.add_column(title, overflow="fold")
    for point in done:
        settings = [str(value) for value in point.settings.values()]
        if point.frontier is None:
            table.add_row(*settings, f"[dim]{point.reason}[/]")
            continue
        best = point.frontier.reports[0]
        table.add_row(
            *settings, degrees(best.plan), seconds(best.time_s), interval(best.low_s, best.high_s),
            number(best.throughput_per_s), gigabytes(best.peak_memory_bytes), number(best.usd_per_million),
        )  # fmt: skip
    out = console()
    out.print(table)
    if folder:
        out.print(f"\n[dim]Results:[/] {folder / 'points.csv'}")
