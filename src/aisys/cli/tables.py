"""Where measurement tables lie on this computer."""

import os
from pathlib import Path
from typing import Annotated

import typer

from aisys.errors import BadInput, unknown_name

CalibrateWith = Annotated[
    list[Path] | None,
    typer.Option("--calibrate-with", metavar="FILE", help="Your own measured table: --tier calibrated learns from it."),
]


def calibrated_tier(tier: str, tables: list[Path] | None) -> str:
    """The tier that learns from `tables` where there are any. Raises BadInput where the data sheet's was asked for."""
    if not tables:
        return tier
    if tier == "limit":
        raise BadInput("--calibrate-with is for the calibrated tier; leave out --tier limit")
    return "calibrated"


def tables_folder(given: Path | None) -> Path:
    """The folder that holds `measured/`: the one given, else AISYS_TABLES. Raises BadInput where there is none."""
    named = given or (Path(os.environ["AISYS_TABLES"]) if os.environ.get("AISYS_TABLES") else None)
    if named is None:
        raise BadInput("no folder of tables is known; give --tables DIR or set AISYS_TABLES")
    if not (named / "measured").is_dir():
        raise BadInput(f"{named}: has no folder 'measured'; give the folder that holds it with --tables DIR")
    return named


def table_path(name: str, folder: Path | None) -> Path:
    """The file of a table: a path, or a name in the folder of tables, with or without `.csv`.

    Raises UnknownName with the nearest names where it is neither.
    """
    if Path(name).exists() or os.sep in name:
        return Path(name)
    if folder is None and not os.environ.get("AISYS_TABLES"):
        raise BadInput(f"{name}: no such file; give a path, or the folder of tables with --tables DIR")
    known = {path.name: path for path in tables_folder(folder).glob("*/*.csv")}
    for found in (name, f"{name}.csv"):
        if found in known:
            return known[found]
    raise unknown_name("table", name, known)
