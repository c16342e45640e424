"""`aisys explain`: the formula behind a number, with the numbers put in."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aisys.cli.complete import devices, ops, tiers

if TYPE_CHECKING:
    from aisys.report.explain import Explanation
    from aisys.report.steps import Step

What = Annotated[
    str, typer.Argument(metavar="OP|RUN", help="An op, or a folder that aisys plan wrote.", autocompletion=ops)
]
Words = Annotated[list[str] | None, typer.Argument(metavar="NAME=VALUE...", help="m=4096 n=4096 k=4096 dtype=bf16")]
On = Annotated[str, typer.Option("--on", metavar="DEVICE", help="Device, machine, file.", autocompletion=devices)]
TierOption = Annotated[str, typer.Option("--tier", help="limit, analytic or calibrated.", autocompletion=tiers)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def explain(what: What, words: Words = None, *, on: On = "", tier: TierOption = "analytic", json: Json = False) -> None:
    """Show why an op takes as long as it does: each formula with the numbers put in, and the source of every constant.

    The formulas are read from the cost model itself while it runs. Of a run, every op of the best plan is set beside
    what the data sheet allows.

    **Examples**

    - `aisys explain matmul m=4096 n=4096 k=4096 dtype=bf16 --on h100-sxm`
    - `aisys explain attention q_len=1 kv_len=8192 q_heads=32 kv_heads=8 batch=16 --on b200`
    - `aisys explain aisys-out/llama-3.1-8b-dgx-h100-train`
    """
    from aisys.cli.op_arguments import KINDS, read_op
    from aisys.cli.output import emit_json, tier_of
    from aisys.errors import BadInput
    from aisys.machine import machine
    from aisys.report.explain import explain as explained

    if what not in KINDS and not words and Path(what.rpartition(":")[0] or what).exists():
        _explain_run(what, on, json)
        return
    table = read_op(what, words or [])
    if not on:
        raise BadInput("explain of an op needs a device; add for example --on h100-sxm")
    found = explained(table, machine(on).device, tier=tier_of(tier))
    if json:
        emit_json(found.as_dict())
    else:
        _show(found)


def _show(found: "Explanation") -> None:
    from rich.table import Table

    from aisys.cli.output import console
    from aisys.report.steps import quantity

    out = console()
    out.print(f"[bold]{found.sentence}[/]\n")
    if found.limit:
        out.print("[bold]The least that the data sheet allows[/]")
        _show_steps(found.limit)
    if found.model:
        out.print(f"[bold]The {found.cost.tier} model, step by step[/]")
        _show_steps(found.model)
    if found.cost.numbers:
        table = Table(box=None, header_style="bold", pad_edge=False, title="constants read", title_justify="left")
        for title in ("constant", "value", "kind", "source"):
            table.add_column(title, justify="right" if title == "value" else "left", overflow="fold")
        for sourced in found.cost.numbers:
            table.add_row(sourced.key, quantity(sourced.key, float(sourced)), sourced.kind, sourced.source)
        out.print(table)


def _show_steps(steps: "tuple[Step, ...]") -> None:
    from rich.text import Text

    from aisys.cli.output import console

    out = console()
    place = ""
    for step in steps:
        if step.place != place and not step.place.startswith("limit"):
            place = step.place
            out.print(Text(f"  {place}", style="dim italic"))
        line = Text(f"    {step.name}", style="bold").append(f" = {step.formula}", style="not bold")
        if step.numbers != step.formula:
            line.append(f"\n      = {step.numbers}", style="not bold dim")
        out.print(line.append(f"\n      = {step.shown}", style="bold cyan"))
    out.print()


def _explain_run(name: str, on: str, is_json: bool) -> None:
    from rich.table import Table

    from aisys.cli.output import console, emit_json
    from aisys.errors import BadInput, UnknownName
    from aisys.machine import machine
    from aisys.report.op_limits import op_limits
    from aisys.report.quantity import number, percent, scaled, seconds
    from aisys.report.store import load_report

    report = load_report(name)
    try:
        device = machine(on or report.machine.split(" (")[0]).device
    except UnknownName as error:
        raise BadInput(f"{name}: {error}; name the machine's file with --on") from None
    rows = op_limits(report, device)
    if is_json:
        emit_json({"workload": report.workload, "machine": report.machine, "ops": rows})
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("op", "time", "share", "flop / peak", "bytes / bandwidth", "over limit", "bound by"):
        table.add_column(title, justify="left" if title in ("op", "bound by") else "right")
    for row in rows:
        compute = f"{scaled(row['flop'], 'flop')} = {seconds(row['compute_s'])}" if row["compute_s"] else "-"
        moved = f"{scaled(row['traffic_bytes'], 'B')} = {seconds(row['memory_s'])}" if row["memory_s"] else "-"
        over = f"{number(row['over_limit'])}x" if row["over_limit"] else "-"
        table.add_row(
            f"{row['block']}.{row['name']} ({row['phase'].replace('_', ' ')})",
            f"{seconds(row['time_s'])} x {row['repeat']}", percent(row["share"], 2), compute, moved, over, row["bound"],
        )  # fmt: skip
    console().print(table)
