"""Fields of a YAML document, checked one by one."""

from pathlib import Path
from typing import Any

from aisys.errors import BadInput


def mapping_at(document: Any, key: str, path: Path) -> dict[str, Any]:
    """The mapping under `key`. Raises BadInput where there is none, as in a file that was cut off."""
    value = document.get(key) if isinstance(document, dict) else None
    if not isinstance(value, dict):
        raise BadInput(f"{path.name}: no mapping {key!r}; is the file cut off?")
    return value


def list_at(document: Any, key: str, path: Path) -> list[Any]:
    """The list under `key`. Raises BadInput where there is none."""
    value = document.get(key) if isinstance(document, dict) else None
    if not isinstance(value, list):
        raise BadInput(f"{path.name}: no list {key!r}; is the file cut off?")
    return value


def text_at(document: Any, key: str, path: Path) -> str:
    """The text under `key`. Raises BadInput where there is none."""
    value = document.get(key) if isinstance(document, dict) else None
    if not isinstance(value, str):
        raise BadInput(f"{path.name}: no text {key!r} in {str(document)[:80]}; is the file cut off?")
    return value


def number_at(document: dict[str, Any], key: str, path: Path, default: float | None = None) -> float:
    """The number under `key`, also one like 1e-9 that YAML 1.1 takes for a text.

    Raises BadInput for anything else, expressions of templates among it.
    """
    value = document.get(key, default)
    try:
        number = -1.0 if isinstance(value, bool) or not isinstance(value, (int, float, str)) else float(value)
    except ValueError:
        number = -1.0
    if not number >= 0:
        raise BadInput(f"{path.name}: {key} is {str(value)[:60]!r}; give a number of at least 0")
    return number


def count_at(document: dict[str, Any], key: str, path: Path) -> int:
    """The whole number of at least 1 under `key`. Raises BadInput for anything else."""
    value = document.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadInput(f"{path.name}: {key} is {str(value)[:60]!r}; give a whole number of at least 1")
    return value
