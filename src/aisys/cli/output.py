"""Where answers go: tables and sentences to a person, one JSON document to a program."""

import json
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from aisys.cost import Tier

WIDTH_WITHOUT_TERMINAL = 160


def console(*, stderr: bool = False) -> "Console":
    """A console for people; without a terminal its lines are WIDTH_WITHOUT_TERMINAL wide and have no colours."""
    from rich.console import Console

    out = Console(stderr=stderr, highlight=False, soft_wrap=False)
    return out if out.is_terminal else Console(stderr=stderr, highlight=False, width=WIDTH_WITHOUT_TERMINAL)


def emit_json(document: Any) -> None:
    """Print `document` to stdout as one JSON document; numbers that JSON cannot hold become null."""
    sys.stdout.write(json.dumps(jsonable(document), indent=2, allow_nan=False) + "\n")


def jsonable(value: Any) -> Any:
    """`value` in the types of JSON: dataclasses and mappings become objects, infinities and NaN become null.

    >>> jsonable({"a": (1, float("inf"))})
    {'a': [1, None]}
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if isfinite(value) else None
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: jsonable(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(item) for item in value]
    return str(value)


def tier_of(name: str) -> "Tier":
    """The tier of cost models called `name`. Raises UnknownName with the nearest ones."""
    from typing import get_args

    from aisys.cost import Tier
    from aisys.errors import unknown_name

    for tier in get_args(Tier):
        if tier == name:
            known: Tier = tier
            return known
    raise unknown_name("tier", name, get_args(Tier))
