"""Where measurement tables lie on this computer."""

import os
from pathlib import Path

from aisys.errors import BadInput


def tables_folder(given: Path | None) -> Path:
    """The folder that holds `measured/`: the one given, else AISYS_TABLES. Raises BadInput where there is none."""
    named = given or (Path(os.environ["AISYS_TABLES"]) if os.environ.get("AISYS_TABLES") else None)
    if named is None:
        raise BadInput("no folder of tables is known; give --tables DIR or set AISYS_TABLES")
    if not (named / "measured").is_dir():
        raise BadInput(f"{named}: has no folder 'measured'; give the folder that holds it with --tables DIR")
    return named
