"""`aisys validate`: predicted beside measured."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aisys.cli.complete import tiers
from aisys.cli.tables import CalibrateWith

if TYPE_CHECKING:
    from aisys.validate import Prediction, Result, Table

TableFile = Annotated[str, typer.Argument(metavar="TABLE", help="A CSV table, or its name in the folder of tables.")]
TierOption = Annotated[str, typer.Option("--tier", help="limit, analytic or calibrated.", autocompletion=tiers)]
Constants = Annotated[
    str, typer.Option("--constants", help="fitted, or transfer: from fits that saw no row of the device's generation.")
]
Tables = Annotated[
    Path | None, typer.Option("--tables", metavar="DIR", help="Folder of measurement tables; default: AISYS_TABLES.")
]
Rows = Annotated[Path | None, typer.Option("--rows", metavar="FILE", help="Write every row with its prediction.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
WORST = 5


def validate(
    table: TableFile, *, tier: TierOption = "analytic", constants: Constants = "fitted",
    calibrate_with: CalibrateWith = None, tables: Tables = None, rows: Rows = None, json: Json = False,
) -> None:  # fmt: skip
    """Predict every row of a measurement table and summarise the errors.

    The table is a CSV file whose comment header says what it is (`# table: gemm`, `# kind: measured`, `# source: ...`,
    `# units: ...`); your own measurements in the same form work the same way. ape is |predicted - measured| /
    measured, mape its mean; the 90 % intervals should cover about 90 % of the rows.

    **Examples**

    - `aisys validate gpu_gemm --tables ./tables`
    - `aisys validate my-matmuls.csv --calibrate-with my-other-matmuls.csv`
    - `aisys validate training_step.csv --json`
    """
    from aisys.cli.output import emit_json, tier_of
    from aisys.cli.progress import progress_bar
    from aisys.cli.tables import calibrated_tier, table_path
    from aisys.errors import unknown_name
    from aisys.validate import Options, predict, read_table, summarise, teacher

    if constants not in ("fitted", "transfer"):
        raise unknown_name("choice of constants", constants, ("fitted", "transfer"))
    read = read_table(table_path(table, tables))
    tier = calibrated_tier(tier, calibrate_with)
    learned = teacher(read, tier_of(tier), [table_path(str(one), tables) for one in calibrate_with or ()])
    options = Options(constants="transfer" if constants == "transfer" else "fitted", calibration=learned)
    with progress_bar(f"predicting {len(read):,} rows", is_shown=not json):
        prediction = predict(read, tier=tier_of(tier), options=options)
    result = summarise(read, prediction, tier=tier)
    if rows:
        _write_rows(read, prediction, rows)
    if json:
        emit_json(result.as_dict())
    else:
        _show(result)
        _show_worst(read, prediction)


def _show(result: "Result") -> None:
    from rich.table import Table as RichTable

    from aisys.cli.output import console
    from aisys.report.quantity import percent

    def cell(value: float | None) -> str:
        return "-" if value is None else percent(value)

    out = console()
    skipped = f", {len(result.skipped)} skipped" if result.skipped else ""
    out.print(f"[bold]{result.table}[/] ({result.kind}), {result.tier} tier: {result.errors.rows:,} rows{skipped}")
    table = RichTable(box=None, header_style="bold", pad_edge=False)
    for title in ("", "rows", "MAPE", "median", "90th", "bias", "covered", "width"):
        table.add_column(title, justify="left" if not title else "right")
    for name, one in {"all": result.errors, **result.others, **result.per_group}.items():
        figures = (one.mape, one.median_ape, one.p90_ape, one.bias, one.interval_coverage, one.interval_width)
        table.add_row(name, f"{one.rows:,}", *map(cell, figures))
    out.print(table)
    if result.ranking:
        known = [r.tau for r in result.ranking if r.tau is not None]
        tau = sum(known) / len(known) if known else float("nan")
        regret = sum(r.regret for r in result.ranking) / len(result.ranking)
        out.print(f"{len(result.ranking)} groups of alternatives: Kendall's tau {tau:.2f}, regret {percent(regret)}")
    for row, reason in result.skipped[:WORST]:
        out.print(f"[dim]row {row} skipped: {reason}[/]")


def _show_worst(table: "Table", prediction: "Prediction") -> None:
    from rich.table import Table as RichTable

    from aisys.cli.output import console
    from aisys.report.quantity import number, percent

    ape = {
        row: abs(p - m) / m
        for row, (p, m) in enumerate(zip(prediction.predicted.tolist(), prediction.measured.tolist(), strict=True))
        if p == p and m == m and m > 0
    }  # fmt: skip
    worst = sorted(ape, key=ape.__getitem__, reverse=True)[:WORST]
    if not worst:
        return
    shown = RichTable(box=None, header_style="dim", title="largest errors", title_justify="left", pad_edge=False)
    for title in ("row", "what", "predicted", "measured", "error"):
        shown.add_column(title, justify="left" if title == "what" else "right", overflow="fold")
    for row in worst:
        predicted, measured = float(prediction.predicted[row]), float(prediction.measured[row])
        what = " ".join(f"{name}={table.texts(name)[row]}" for name in list(table.columns)[:8])
        error = percent((predicted - measured) / measured)
        shown.add_row(str(table.rows[row]), what, number(predicted), number(measured), error)
    console().print(shown)


def _write_rows(table: "Table", prediction: "Prediction", file: Path) -> None:
    import csv
    from io import StringIO

    from aisys.report.files import write_files

    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["row", *table.columns, "predicted", "low", "high"])
    columns = (prediction.predicted, prediction.low, prediction.high)
    given = (table.texts(name).tolist() for name in table.columns)
    writer.writerows(zip(table.rows, *given, *(column.tolist() for column in columns), strict=True))
    write_files(file.parent, {file.name: out.getvalue()})
