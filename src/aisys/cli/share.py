"""`aisys share`: several networks on one systolic array."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aisys.cli.complete import devices, workloads

if TYPE_CHECKING:
    from aisys.search.dataflow_mirroring import Sharing

Networks = Annotated[
    list[str], typer.Argument(metavar="WORKLOAD...", help="One to four workloads.", autocompletion=workloads)
]
On = Annotated[str, typer.Option("--on", metavar="DEVICE", help="One systolic array.", autocompletion=devices)]
Batch = Annotated[int, typer.Option("--batch", help="Images or sequences of each network.")]
Tokens = Annotated[int | None, typer.Option("--tokens", "--seq", help="New tokens of each sequence, not for images.")]
By = Annotated[str, typer.Option("--by", help="stp (total progress) or antt (mean slowdown).")]
Figure = Annotated[
    Path | None, typer.Option("--figure", metavar="FILE", help="Draw both cuts of the array: name.svg or name.pdf.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def share(
    networks: Networks, *, on: On, batch: Batch = 1, tokens: Tokens = None, by: By = "stp", figure: Figure = None,
    json: Json = False,
) -> None:  # fmt: skip
    """Cut one systolic array for up to four networks, the best of all ways that mirrored dataflows allow.

    Beside it stands the equal split. Buffer and memory bandwidth are shared equally in both.

    **Examples**

    - `aisys share alexnet resnet50 --on tpu-like-256 --figure cuts.svg`
    - `aisys share alexnet resnet50 vgg16 mobilenet-v1 --on tpu-like-256 --batch 4 --by antt --json`
    """
    from aisys.cli.output import console, emit_json
    from aisys.machine import machine
    from aisys.report.figure import check_figure, write_figure
    from aisys.report.figure.sharing import sharing_figure
    from aisys.search.dataflow_mirroring import Times, best_cut, equal_cut
    from aisys.workload import read

    if figure:
        check_figure(figure)
    device = machine(on).device
    graphs = [read(network, batch=batch, tokens=tokens) for network in networks]
    times = Times.of(graphs, device)
    best, equal = best_cut(times, by), equal_cut(times, by)
    document = {"device": device.name, "objective": by, "best": best.as_dict(), "equal": equal.as_dict()}
    if figure:
        rows, cols = (side - 1 for side in times.shared_s[0].shape)
        write_figure(figure, sharing_figure(document, rows, cols))
        console(stderr=True).print(f"Figure: {figure}", markup=False)
    if json:
        emit_json(document)
    else:
        _show(best, equal)


def _show(best: "Sharing", equal: "Sharing") -> None:
    from rich.table import Table

    from aisys.cli.output import console
    from aisys.report.quantity import number, seconds

    table = Table("network", "part", "first row, column", "time", "of its speed alone", "equal split")
    for part, other in zip(best.parts, equal.parts, strict=True):
        table.add_row(
            part.network, f"{part.rows} x {part.cols}", f"{part.row}, {part.col}", seconds(part.time_s),
            f"{part.alone_s / part.time_s:.1%}", f"{other.alone_s / other.time_s:.1%}",
        )  # fmt: skip
    out = console()
    out.print(table)
    out.print(
        f"STP {number(best.stp)} against {number(equal.stp)} of the equal split, "
        f"ANTT {number(best.antt)} against {number(equal.antt)}."
    )
    looked = f"{best.num_tried:,} first cuts searched, {best.num_bounded:,} ranges bounded"
    out.print(f"[dim]The best of {best.num_cuts:,} ways to cut: {looked}.[/]")
