"""`aisys map` of several einsums that hand tensors on: fused against one by one."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aisys.cost.loop_nest import Einsum, Hierarchy

CHAINS = {
    "attention": (
        "scores[b, h, q, t] += query[b, h, q, d] * key[b, h, t, d]; "
        "context[b, h, q, e] += scores[b, h, q, t] * value[b, h, t, e]",
        dict(heads="h", q_len="q", kv_len="t", head_dim="de", batch="b"), dict(batch=1),
    ),
    "mlp": (
        "hidden[m, f] += x[m, k] * up[k, f]; y[m, n] += hidden[m, f] * down[f, n]",
        dict(m="m", k="k", ffn="f", n="n"), dict(),
    ),
}  # fmt: skip
"""Chains by name: the text, the words that give its dims, and words with a usual value."""


def is_chain(kind: str) -> bool:
    """Whether the words of a person name or write a chain."""
    return kind in CHAINS or ";" in kind


def chain(kind: str, words: list[str]) -> tuple["Einsum", ...]:
    """The einsums that a person names or writes. Raises BadInput and UnknownName."""
    from aisys.cli.map_words import numbers
    from aisys.cost.loop_nest import chain_of
    from aisys.cost.loop_nest.einsum_text import dims_of
    from aisys.errors import BadInput

    if kind not in CHAINS:
        dims = dict.fromkeys(dim for part in kind.split(";") for dim in dims_of(part))
        given = numbers("this chain", words, (*dims, "bits"))
        return chain_of(kind, {n: v for n, v in given.items() if n != "bits"}, bits=given.get("bits", 8))
    text, names, usual = CHAINS[kind]
    given = {**usual, "bits": 8, **numbers(kind, words, (*names, "bits"))}
    for name in names:
        if name not in given:
            raise BadInput(f"{kind} needs {' '.join(f'{n}=...' for n in names if n not in usual)}; {name} is missing")
    extents = {dim: given[name] for name, dims in names.items() for dim in dims}
    return chain_of(text, extents, bits=given["bits"])


def answer(kind: str, words: list[str], array: "Hierarchy", *, json: bool) -> None:
    """Print the best chain fused and one by one, and where each shared tensor begins."""
    from aisys.cli.output import emit_json
    from aisys.cost.loop_nest.chain import fused

    einsums = chain(kind, words)
    found = fused(einsums, array)
    document = {
        "chain": [str(einsum.output.name) for einsum in einsums], "device": array.name,
        "macs": sum(einsum.num_macs for einsum in einsums),
        "fused": {"energy_joule": found.joule, "time_s": found.time_s},
        "separate": {"energy_joule": found.separate_joule, "time_s": found.separate_time_s},
        "shared": {
            name: {"level": array.levels[place.level].name, "loop": place.axis or None, "tile": place.tile or None}
            for name, place in found.places.items()
        },
        "chains_joined": found.num_walked,
    }  # fmt: skip
    if json:
        emit_json(document)
    else:
        _show(document, array.levels[0].name)


def _show(document: dict[str, Any], outermost: str) -> None:
    from rich.table import Table

    from aisys.cli.output import console
    from aisys.report.quantity import scaled, seconds

    out = console()
    out.print(f"[bold]{' then '.join(document['chain'])}[/] on {document['device']}")
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("", "energy", "time", "product"):
        table.add_column(title, justify="right" if title else "left")
    for title, key in (("fused", "fused"), ("one by one", "separate")):
        joule, time_s = document[key]["energy_joule"], document[key]["time_s"]
        table.add_row(title, scaled(joule, "J"), seconds(time_s), scaled(joule * time_s, "J s"))
    out.print(table)
    for name, place in document["shared"].items():
        if place["level"] == outermost:
            out.print(f"{name} goes through {outermost}: the level inside cannot keep it, or it does not pay")
        elif place["loop"]:
            out.print(f"{name} stays in {place['level']}, {place['tile']} of {place['loop']} at a time")
        else:
            out.print(f"{name} stays in {place['level']}, whole")
    out.print(f"[dim]the least product of energy and time, proven; {document['chains_joined']:,} chains joined[/]")
