"""`aisys new`: a start for an idea of your own."""

from pathlib import Path
from typing import Annotated

import typer

WHAT = ("technique", "cost", "collective", "schedule", "workload")

What = Annotated[str, typer.Argument(metavar="KIND", help=", ".join(WHAT) + ".", autocompletion=lambda: list(WHAT))]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the module: small letters, digits, underscores.")]
Folder = Annotated[Path, typer.Option("--in", metavar="DIR", help="Folder to write NAME/ into; default: this one.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def new(what: What, name: Name, *, folder: Folder = Path("."), json: Json = False) -> None:
    """Write an installable package with a technique, cost model, collective, schedule or workload of your own.

    NAME/ gets the plug-in, a test that runs the kit of its kind, a study that compares it with what there is, and the
    pyproject.toml that lets AISys find it once installed. Everything in it runs as it is; nothing is overwritten.

    **Examples**

    - `aisys new technique my_idea`
    - `aisys new schedule my_order --in ~/ideas`
    """
    from aisys.cli.output import console, emit_json
    from aisys.testing.new import new as write

    files = write(what, name, folder)
    if json:
        emit_json({"kind": what, "name": name, "files": [str(path) for path in files]})
        return
    out = console()
    for path in files:
        out.print(f"wrote {path}")
    out.print(f"Next: cd {files[0].parent} && pip install -e . && pytest && python study_{name}.py")
