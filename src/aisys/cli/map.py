"""`aisys map`: an einsum as a loop nest on a spatial array."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aisys.cli.complete import devices

if TYPE_CHECKING:
    from aisys.cost.loop_nest import Einsum, Hierarchy, Mapping, NestCost
    from aisys.cost.loop_nest.optimum import Optimum

Kind = Annotated[
    str,
    typer.Argument(
        metavar="EINSUM",
        help="matmul, conv, attention_scores, attention_context, spmm, or one of your own: 'o[i] += a[i, j] * b[j]'; "
        "attention, mlp, or several of your own with semicolons.",
    ),
]
Words = Annotated[list[str] | None, typer.Argument(metavar="NAME=VALUE...", help="m=512 n=512 k=512")]
On = Annotated[str, typer.Option("--on", metavar="DEVICE", help="Spatial array: name or file.", autocompletion=devices)]
MappingFile = Annotated[
    Path | None, typer.Option("--mapping", metavar="FILE", help="Evaluate this loop nest instead of choosing one.")
]
Objective = Annotated[
    str | None,
    typer.Option("--objective", metavar="WHAT", help="What is best: latency (if left out), energy or edp."),
]
Pareto = Annotated[bool, typer.Option("--pareto", help="List every nest that none beats in both energy and cycles.")]
Figure = Annotated[
    Path | None,
    typer.Option("--figure", metavar="FILE", help="Draw energy and cycles by level: name.svg or name.pdf."),
]
Density = Annotated[
    list[str] | None,
    typer.Option("--density", metavar="OPERAND=WHAT", help="Zeros: weight=0.3, 2:4, block:16:0.3 or FILE.npz."),
]
Format = Annotated[
    list[str] | None,
    typer.Option("--format", metavar="OPERAND[@LEVEL]=NAME", help="Store it as bitmap, rlc, rlc4, csr or 2:4."),
]
Zeros = Annotated[
    list[str] | None,
    typer.Option("--zeros", metavar="OPERAND=WHAT", help="Look for its zeros: gate, skip (in lockstep), skip:1."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def map_(
    kind: Kind, words: Words = None, *, on: On, mapping: MappingFile = None, objective: Objective = None,
    pareto: Pareto = False, density: Density = None, format_: Format = None, zeros: Zeros = None,
    figure: Figure = None, json: Json = False,
) -> None:  # fmt: skip
    """Map one einsum onto a spatial array: the loop nest, and its cycles and energy level by level.

    A mapping is text, outermost loop first: `for k: 4`, `spread n over glb.cols: 14`, `glb keeps input output`. Give
    one of your own with `--mapping`; a nest that overflows a memory or covers too little is answered with the numbers.
    Without one, the optimal mapping is searched for: the fastest and of those the one of least energy, or what
    `--objective` wants. The certificate says how the search knows. `--density` says where an operand is zero.

    Einsums that hand tensors on are searched as a chain: fused, with each shared tensor whole or tile by tile in the
    level next to the outermost memory where that pays, beside one by one.

    **Examples**

    - `aisys map matmul m=512 n=512 k=512 --on gemmini-16x16`
    - `aisys map conv out_channels=64 in_channels=64 out_h=56 out_w=56 kernel_h=3 kernel_w=3 --on simba-like`
    - `aisys map "o[i, r] += x[i, j, k] * b[j, r] * c[k, r]" i=64 j=64 k=64 r=16 --on gemmini-16x16`
    - `aisys map attention heads=8 q_len=128 kv_len=128 head_dim=64 --on tpu-v4i`
    - `aisys map matmul m=512 n=512 k=512 --on tpu-v1 --objective edp --pareto --figure nest.svg`
    - `aisys map matmul m=64 n=64 k=64 --on gemmini-16x16 --density weight=2:4 --format weight=bitmap`
    """
    from aisys.cli import map_chain
    from aisys.cli.output import emit_json
    from aisys.cli.sparse_words import with_density, with_zeros
    from aisys.cost.loop_nest import Hierarchy
    from aisys.errors import BadInput
    from aisys.machine import machine
    from aisys.report.figure import check_figure

    if figure:
        check_figure(figure)
    if mapping and (objective or pareto):
        raise BadInput("--mapping evaluates your nest and --objective searches for one; give one of them")
    array = Hierarchy.of(machine(on).device)
    if map_chain.is_chain(kind):
        if mapping or pareto or figure or density or format_ or zeros or objective not in (None, "edp"):
            raise BadInput("a chain is searched for the least product of energy and time; leave other options out")
        map_chain.answer(kind, words or [], array, json=json)
        return
    einsum = with_density(_einsum(kind, words or []), density or [])
    array = with_zeros(array, einsum, format_ or [], zeros or [])
    document = _mapped(einsum, array, mapping, objective or ("edp" if pareto else ""), pareto=pareto)
    if figure:
        _draw(document, figure)
    emit_json(document) if json else _show(document)


def _draw(document: dict[str, Any], figure: Path) -> None:
    from aisys.cli.output import console
    from aisys.report.figure import write_figure
    from aisys.report.figure.nest import nest_figure

    write_figure(figure, nest_figure(document))
    console(stderr=True).print(f"Figure: {figure}", markup=False)


def _mapped(
    einsum: "Einsum", array: "Hierarchy", mapping: Path | None, objective: str, *, pareto: bool
) -> dict[str, Any]:
    """What `--json` prints of the nest in a file, or of the best one."""
    from aisys.cost.loop_nest import check, check_fits, evaluate, parse
    from aisys.cost.loop_nest.optimum import objective_of, optimum

    wanted = objective_of(objective or "latency")
    is_searched = objective or (array.has_even_formats and not mapping)
    search = optimum(einsum, array, wanted, pareto=pareto) if is_searched else None
    nest = parse(_text(mapping)) if mapping else (search or optimum(einsum, array.storing_whole(), wanted)).best
    check(nest, einsum, array)
    cost = evaluate(einsum, array, nest)
    check_fits(cost, array)
    document = _document(einsum, array, nest, cost)
    return document | _searched(search, einsum, array, pareto=pareto) if search else document


_EXTENTS: dict[str, tuple[dict[str, str], dict[str, int]]] = {
    "matmul": (dict(m="m", n="n", k="k"), dict(batch=1)),
    "conv": (
        dict(m="out_channels", c="in_channels", p="out_h", q="out_w", r="kernel_h", s="kernel_w"),
        dict(batch=1, groups=1, stride=1, dilation=1),
    ),
    "attention_scores": (dict(h="heads", q="q_len", t="kv_len", d="head_dim"), dict(batch=1)),
    "attention_context": (dict(h="heads", q="q_len", t="kv_len", e="head_dim"), dict(batch=1)),
    "spmm": (dict(m="m", n="n", k="k", density="density_pct"), {}),
}
"""Einsums by name: dims and the words that must give them, and words with a usual value. All take bits=8."""


def _einsum(kind: str, words: list[str]) -> "Einsum":
    """The einsum that words like `m=512` describe. Raises UnknownName, or BadInput for a missing or wrong value."""
    from aisys.cli.map_words import numbers
    from aisys.cost.loop_nest import attention, conv, matmul, spmm
    from aisys.cost.loop_nest.einsum_text import dims_of, einsum_of
    from aisys.errors import BadInput, unknown_name

    if "[" in kind:
        own = numbers("this einsum", words, (*dims_of(kind), "bits"))
        return einsum_of(kind, {n: v for n, v in own.items() if n != "bits"}, bits=own.get("bits", 8))
    if kind not in _EXTENTS:
        raise unknown_name("einsum", kind, _EXTENTS)
    needed, usual = _EXTENTS[kind]
    given = {**usual, "bits": 8, **numbers(kind, words, (*needed.values(), *usual, "bits"))}
    for name in needed.values():
        if name not in given:
            raise BadInput(f"{kind} needs {' '.join(f'{n}=...' for n in needed.values())}; {name} is missing")
    extents = {dim: given[name] for dim, name in needed.items()}
    bits = given["bits"]
    if kind == "matmul":
        return matmul(**extents, batch=given["batch"], bits=bits)
    if kind == "spmm":
        return spmm(**{**extents, "density": given["density_pct"] / 100}, bits=bits)
    if kind == "conv":
        every = {**extents, "n": given["batch"], "g": given["groups"]}
        return conv(every, stride=given["stride"], dilation=given["dilation"], bits=bits)
    both = {"b": given["batch"], "d": 1, "e": 1, **extents}
    return attention(both, bits=bits)[kind == "attention_context"]


def _text(path: Path) -> str:
    from aisys.errors import BadInput

    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise BadInput(f"{path}: cannot be read; give a text file with a loop nest") from None


def _document(einsum: "Einsum", array: "Hierarchy", nest: "Mapping", cost: "NestCost") -> dict[str, Any]:
    levels = [
        {
            "level": level.name,
            "cycles": float(cost.level_cycles[level.name][0]),
            "energy_joule": float(cost.level_joule[level.name][0]),
            "used_bytes": float(cost.used_bits[level.name][0]) / 8,
            "accesses": {
                operand: {name: float(getattr(counts, name)[0]) for name in ("reads", "fills", "updates")}
                | {"bits_per_element": float(cost.element_bits[owner, operand].flat[0])}
                for (owner, operand), counts in cost.accesses.items()
                if owner == level.name
            },
        }
        for level in array.levels
    ]
    return {
        "einsum": einsum.name, "extents": dict(einsum.extents), "device": array.name, "mapping": str(nest),
        "macs": einsum.num_macs, "cycles": float(cost.cycles[0]), "compute_cycles": float(cost.compute_cycles[0]),
        "time_s": float(cost.cycles[0]) / array.clock_hz, "energy_joule": float(cost.energy_joule[0]),
        "mac_energy_joule": cost.mac_joule,
        "density": {operand.name: operand.density.density for operand in einsum.operands},
        "utilisation": float(cost.utilisation[0]), "levels": levels,
    }  # fmt: skip


def _searched(search: "Optimum", einsum: "Einsum", array: "Hierarchy", *, pareto: bool) -> dict[str, Any]:
    """The certificate, and the front: its nests cost what `--mapping` says of them."""
    from aisys.cost.loop_nest import evaluate

    proof = search.certificate
    has_windows = any(sum(einsum.extents[d] > 1 for d in rank) > 1 for o in einsum.operands for rank in o.ranks)
    found: dict[str, Any] = {
        "certificate": {
            "objective": proof.objective, "optimal": proof.is_optimal, "explored": proof.explored,
            "pruned": proof.pruned, "bound": proof.bound, "above_bound": proof.above_bound, "gap": proof.gap,
            "spared": proof.spared,
            "text": str(proof) + ("; windows that slide are searched as if fetched whole" if has_windows else ""),
        }
    }  # fmt: skip
    if pareto:
        costs = [evaluate(einsum, array, nest) for nest in search.mappings]
        points = [(float(cost.energy_joule[0]), float(cost.cycles[0])) for cost in costs]
        found["pareto"] = [
            {"energy_joule": joule, "cycles": cycles, "time_s": cycles / array.clock_hz, "mapping": str(nest)}
            for nest, (joule, cycles) in zip(search.mappings, points, strict=True)
            if not any(a <= joule and b <= cycles and (a, b) != (joule, cycles) for a, b in points)
        ]
    return found


def _show(document: dict[str, Any]) -> None:
    from rich.table import Table

    from aisys.cli.output import console
    from aisys.report.quantity import number, percent, scaled

    out = console()
    out.print(f"[bold]{document['einsum']}[/] on {document['device']}")
    out.print(document["mapping"], markup=False, highlight=False)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("level", "port cycles", "energy", "holds"):
        table.add_column(title, justify="left" if title == "level" else "right")
    for level in document["levels"]:
        used = level["used_bytes"]
        holds = scaled(used, "B") if used >= 1 or used == 0 else f"{8 * used:.3g} bits"
        table.add_row(level["level"], f"{level['cycles']:,.0f}", scaled(level["energy_joule"], "J"), holds)
    table.add_row("arithmetic", f"{document['compute_cycles']:,.0f}", scaled(document["mac_energy_joule"], "J"), "")
    out.print(table)
    for name, share in document["density"].items():
        if share < 1:
            places = ((level["level"], level["accesses"].get(name)) for level in document["levels"])
            bits = ", ".join(f"{number(one['bits_per_element'])} bits in {level}" for level, one in places if one)
            out.print(f"{name}: {percent(share)} non-zero; an element takes {bits}")
    out.print(
        f"{document['cycles']:,.0f} cycles, {scaled(document['energy_joule'], 'J')}, "
        f"{percent(document['utilisation'])} of the units busy while they compute"
    )
    if "certificate" in document:
        out.print(document["certificate"]["text"])
    for point in document.get("pareto", ()):
        out.print(f"  {point['cycles']:,.0f} cycles, {scaled(point['energy_joule'], 'J')}")
