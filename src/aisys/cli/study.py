"""`aisys study`: reproduce a published result."""

from typing import Annotated

import typer

Name = Annotated[str, typer.Argument(metavar="NAME", help="A study; `aisys list studies` shows them.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def study(name: Name, *, json: Json = False) -> None:
    """Reproduce a published result: every quantity of the publication beside ours.

    Exits with 1 where a quantity is outside its tolerance.

    **Examples**

    - `aisys study korthikanti2022`
    - `aisys study korthikanti2022 --json`
    """
    from aisys.cli.output import console, emit_json
    from aisys.study import run

    outcome = run(name)
    if json:
        emit_json(outcome.as_dict())
    else:
        from rich.table import Table

        table = Table("quantity", "ours", "published", "ratio", "within", title=outcome.source)
        for row in outcome.rows:
            mark = "yes" if row.is_ok else "NO"
            values = (f"{row.ours:.5g}", f"{row.published:.5g}", f"{row.ratio:.3f}", f"{row.tolerance:.0%} {mark}")
            table.add_row(row.quantity, *values)
        console().print(table)
        unseen = sum(not row.is_calibration for row in outcome.rows)
        verdict = "reproduced" if outcome.passed else "not reproduced"
        typer.echo(f"{verdict}: {outcome.free_parameters} free parameters, {unseen} rows that none of them saw")
    if not outcome.passed:
        raise typer.Exit(1)
