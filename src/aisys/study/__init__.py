"""Studies: published results reproduced through the public functions alone, one file each."""

from importlib import import_module
from pathlib import Path

from aisys.errors import unknown_name
from aisys.study.outcome import Outcome, Row

__all__ = ["Outcome", "Row", "list_studies", "run"]

_ROOM = ("outcome",)


def list_studies() -> tuple[str, ...]:
    """The names of the studies: the stems of this folder's files."""
    return tuple(sorted(p.stem for p in Path(__file__).parent.glob("[!_]*.py") if p.stem not in _ROOM))


def run(name: str) -> Outcome:
    """Run the study called `name`. Raises UnknownName with the nearest names."""
    if name not in list_studies():
        raise unknown_name("study", name, list_studies())
    found: Outcome = import_module(f"aisys.study.{name}").run()
    return found
