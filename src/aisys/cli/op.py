"""`aisys op`: what one op takes on one device."""

from typing import TYPE_CHECKING, Annotated

import typer

from aisys.cli.complete import devices, ops, tiers
from aisys.cli.tables import CalibrateWith

if TYPE_CHECKING:
    from aisys.report.op_cost import OpCost

Kind = Annotated[
    str, typer.Argument(metavar="OP", help="matmul, grouped_matmul, attention, norm, ...", autocompletion=ops)
]
Words = Annotated[list[str] | None, typer.Argument(metavar="NAME=VALUE...", help="m=4096 n=4096 k=4096 dtype=bf16")]
On = Annotated[str, typer.Option("--on", metavar="DEVICE", help="Device, machine, file.", autocompletion=devices)]
TierOption = Annotated[str, typer.Option("--tier", help="limit, analytic or calibrated.", autocompletion=tiers)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def op(
    kind: Kind, words: Words = None, *, on: On, tier: TierOption = "analytic",
    calibrate_with: CalibrateWith = None, json: Json = False,
) -> None:  # fmt: skip
    """Price one op on one device: time with its 90 % interval, energy, traffic, and what bounds it.

    What is left out takes a usual value: batch=1, dtype=bf16; in attention kv_len=q_len, kv_heads=q_heads,
    head_dim=128, is_causal=true. `aisys explain` shows the formula behind the number.

    **Examples**

    - `aisys op matmul m=4096 n=4096 k=4096 dtype=bf16 --on h100-sxm`
    - `aisys op attention q_len=1 kv_len=8192 q_heads=32 kv_heads=8 batch=16 --on b200`
    - `aisys op matmul m=64 n=4096 k=4096 --on h100-sxm --calibrate-with my-matmuls.csv`
    - `aisys op norm rows=8192 cols=4096 --on a100-80-sxm --json`
    """
    from aisys.cli.op_arguments import read_op
    from aisys.cli.output import emit_json, tier_of
    from aisys.cli.tables import calibrated_tier
    from aisys.machine import machine
    from aisys.report.op_cost import op_cost

    table, device = read_op(kind, words or []), machine(on).device
    if calibrate_with:
        from aisys.validate import read_calibration

        device = read_calibration(calibrate_with).device(device)
    result = op_cost(table, device, tier=tier_of(calibrated_tier(tier, calibrate_with)))
    if json:
        emit_json(result.as_dict())
    else:
        _show(result)


def _show(result: "OpCost") -> None:
    from rich.table import Table

    from aisys.cli.output import console
    from aisys.report.quantity import interval, number, percent, scaled, seconds

    table = Table(title=f"{result.kind} on {result.device}", title_justify="left", show_header=False, box=None)
    table.add_column(style="dim")
    table.add_column()
    is_validated = result.low_s == result.low_s
    span = f"90 %: {interval(result.low_s, result.high_s)}" if is_validated else "never validated, so no interval"
    table.add_row("time", f"[bold]{seconds(result.time_s)}[/] ({span})")
    table.add_row("bound", result.bound)
    if result.limit_s == result.limit_s:
        table.add_row("data-sheet limit", f"{seconds(result.limit_s)} ({number(result.time_s / result.limit_s)}x that)")
    if result.flop:
        table.add_row("rate", f"{scaled(result.flop / result.time_s, 'flop/s')} of {scaled(result.flop, 'flop')}")
    for memory, moved in result.traffic_bytes.items():
        table.add_row(f"{memory} traffic", f"{scaled(moved, 'B')} at {scaled(moved / result.time_s, 'B/s')}")
    table.add_row("energy", f"{scaled(result.energy_joule, 'J')} ({number(result.energy_joule / result.time_s)} W)")
    out = console()
    out.print(table)
    assumed = sum(n.kind == "assumed" for n in result.numbers)
    share = percent(assumed / max(1, len(result.numbers)), 2)
    out.print(f"[dim]{len(result.numbers)} machine constants read, {assumed} of them assumed ({share}).[/]")
