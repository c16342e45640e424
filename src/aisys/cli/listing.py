"""`aisys list`: what there is, by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from aisys.cli.complete import starting

MOST_ALIASES = 3
"""How many names of one thing a person is shown; `--json` holds all."""

WHAT = ("machines", "devices", "links", "workloads", "ops", "techniques", "studies", "tables")


def _after_tab(incomplete: str) -> list[str]:
    return starting(WHAT, incomplete)


What = Annotated[str, typer.Argument(metavar="WHAT", help=", ".join(WHAT) + ".", autocompletion=_after_tab)]
Tables = Annotated[
    Path | None, typer.Option("--tables", metavar="DIR", help="Folder of measurement tables; default: AISYS_TABLES.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def list_(what: What, *, tables: Tables = None, json: Json = False) -> None:
    """List the machines, devices, links, workloads, ops, techniques, studies or tables that aisys knows.

    A name from the list goes where a command asks for one; so does the path of a file of your own.

    **Examples**

    - `aisys list machines`
    - `aisys list workloads --json`
    - `aisys list tables --tables ./my-measurements`
    """
    from aisys.cli.output import emit_json
    from aisys.errors import unknown_name

    if what not in WHAT:
        raise unknown_name("list", what, WHAT)
    rows = _tables(tables) if what == "tables" else _ROWS[what]()
    if json:
        emit_json({what: rows})
    else:
        _show(what, rows)


def _show(what: str, rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from aisys.cli.output import console

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in rows[0] if rows else (what,):
        is_number = any(isinstance(row[name], (int, float)) for row in rows)
        table.add_column(name.replace("_", " "), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(name, value) for name, value in row.items()))
    console().print(table)


def _cell(name: str, value: Any) -> str:
    from aisys.report.quantity import number, scaled

    if value is None:
        return "-"
    for ending, unit in _UNITS.items():
        if name.endswith(ending) and isinstance(value, (int, float)):
            return scaled(value, unit)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join([*value[:MOST_ALIASES], *(["..."] if len(value) > MOST_ALIASES else [])])
    return number(value) if isinstance(value, float) else str(value)


_UNITS = {"flop_per_s": "flop/s", "bytes_per_s": "B/s", "_bytes": "B", "_s": "s", "_watt": "W"}


def _machines() -> list[dict[str, Any]]:
    from aisys.machine import list_machines, machine

    rows = []
    for name in list_machines():
        found = machine(name)
        rows.append({
            "name": name, "device": found.device.name, "devices": found.num_devices,
            "links": [f"{tier}: {link.name}" for tier, link in found.links.items()],
            "aliases": _aliases(name, "machine"),
        })  # fmt: skip
    return rows


def _devices() -> list[dict[str, Any]]:
    from aisys.machine import device, list_devices

    rows = []
    for name in list_devices():
        found = device(name)
        memory, peak = found.main_memory, getattr(found.architecture, "flop_per_s", {})
        rows.append({
            "name": name, "architecture": type(found.architecture).__name__,
            "generation": getattr(found.architecture, "generation", None),
            "memory_bytes": float(memory.capacity_bytes), "memory_bytes_per_s": float(memory.bandwidth_bytes_per_s),
            "bf16_flop_per_s": float(peak["bf16"]) if "bf16" in peak else None, "max_watt": float(found.max_watt),
            "usd_per_hour": float(found.price_usd_per_hour),
        })  # fmt: skip
    return rows


def _links() -> list[dict[str, Any]]:
    from aisys.machine import catalogue, link

    found = [link(name) for name in catalogue.names("link")]
    return [
        {
            "name": one.name, "technology": one.technology, "bytes_per_s": float(one.bandwidth_bytes_per_s),
            "latency_s": float(one.latency_s),
        }
        for one in found
    ]  # fmt: skip


def _workloads() -> list[dict[str, Any]]:
    from aisys.workload import list_workloads, published

    found = [published(name) for name in list_workloads()]
    return [
        {"name": one.name, "parameters": one.num_parameters, "source": one.source, "aliases": list(one.aliases)}
        for one in found
    ]


def _ops() -> list[dict[str, Any]]:
    from aisys.cli.op_arguments import EXAMPLES

    return [{"name": kind, "example": f"aisys op {kind} {words}"} for kind, words in EXAMPLES.items()]


def _techniques() -> list[dict[str, Any]]:
    from aisys.plugins import listed

    return [{"name": one.name, "summary": one.summary, "from": one.package} for one in listed("technique")]


def _studies() -> list[dict[str, Any]]:
    import aisys.study
    from aisys.study import list_studies

    folder = Path(aisys.study.__path__[0])
    return [{"name": name, "summary": _first_line(folder / f"{name}.py")} for name in list_studies()]


def _first_line(path: Path) -> str:
    import ast

    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n", 1)[0]


def _tables(folder: Path | None) -> list[dict[str, Any]]:
    from aisys.cli.tables import tables_folder
    from aisys.validate import kinds, read_table

    can_validate = kinds()
    rows = []
    for path in sorted((tables_folder(folder) / "measured").glob("*.csv")):
        table = read_table(path)
        rows.append({
            "file": path.name, "table": table.kind, "kind": table.evidence, "rows": len(table),
            "can_validate": "yes" if table.kind in can_validate else "no",
        })  # fmt: skip
    return rows


def _aliases(name: str, sort: Any) -> list[str]:
    from aisys.machine import catalogue

    return [alias for alias, known in catalogue.aliases(sort).items() if known == name]


_ROWS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "machines": _machines, "devices": _devices, "links": _links, "workloads": _workloads, "ops": _ops,
    "techniques": _techniques, "studies": _studies,
}  # fmt: skip
