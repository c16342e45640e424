"""Configuration files that strangers wrote: read within limits, and fields that are checked as they are taken."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aisys.errors import BadInput, unknown_name

MAX_FILE_BYTES = 4 * 2**20
"""Longest configuration that is read. Source: assumed; published ones stay under 100 kB."""

MAX_EXTENT = 2**24
"""Largest width, count or vocabulary that is believed. Source: assumed; the largest published one is 2**20."""


def read_json(path: Path) -> dict[str, Any]:
    """The object in the JSON file `path`. Raises BadInput where it is unreadable, too long, malformed or no object."""
    if not path.is_file():
        raise BadInput(f"{path} is not a file; give a config.json or the folder that holds one")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); check its permissions") from None
    if len(content) > MAX_FILE_BYTES:
        raise BadInput(f"{path} is longer than {MAX_FILE_BYTES} bytes; a model configuration is a few kilobytes")
    try:
        value = json.loads(content)
    except RecursionError:
        raise BadInput(f"{path} nests too deeply to be a model configuration; give a config.json") from None
    except ValueError as error:
        reason = str(error).splitlines()[0][:120]
        raise BadInput(f"{path} is not valid JSON ({reason}); give a config.json") from None
    if not isinstance(value, dict):
        raise BadInput(f"{path} holds a {type(value).__name__}, not an object; give a config.json")
    return value


class Fields:
    """The fields of one configuration. Every getter takes the names a field goes by, the usual one first.

    `where` is the file for messages, `name` the model for reports.

    >>> fields = Fields({"n_embd": 768}, "config.json")
    >>> fields.integer("hidden_size", "n_embd")
    768
    """

    def __init__(self, values: Mapping[str, Any], where: str, name: str = "") -> None:
        self.values, self.where, self.name = values, where, name

    def has(self, *names: str) -> bool:
        """Whether any of the names is given and not null."""
        return any(self.values.get(name) is not None for name in names)

    def integer(self, *names: str, default: int | None = None, low: int = 1, high: int = MAX_EXTENT) -> int:
        """A whole number within [low, high]; `default` where the field is absent or null."""
        name, value = self._find(names, default)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(name, value, "a whole number")
        if not low <= value <= high:
            raise self._wrong(name, value, f"between {low} and {high}")
        return value

    def number(self, *names: str, default: float | None = None, low: float = 0.0, high: float = 1e9) -> float:
        """A finite number within [low, high]; `default` where the field is absent or null."""
        name, value = self._find(names, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self._wrong(name, value, "a finite number")
        if not low <= value <= high:
            raise self._wrong(name, value, f"between {low} and {high}")
        return float(value)

    def flag(self, *names: str, default: bool | None = None) -> bool:
        """True or false; `default` where the field is absent or null."""
        name, value = self._find(names, default)
        if not isinstance(value, bool):
            raise self._wrong(name, value, "true or false")
        return value

    def text(self, *names: str, default: str | None = None) -> str:
        """A string; `default` where the field is absent or null."""
        name, value = self._find(names, default)
        if not isinstance(value, str):
            raise self._wrong(name, value, "a string")
        return value

    def choice(self, known: Mapping[str, str], *names: str, default: str | None = None) -> str:
        """The entry of `known` for a string field. Raises UnknownName with the nearest keys."""
        name, value = self._find(names, default)
        if not isinstance(value, str):
            raise self._wrong(name, value, "a string")
        if value not in known:
            raise unknown_name(f"{name} in {self.where}", value, known)
        return known[value]

    def texts(self, *names: str) -> tuple[str, ...]:
        """A list of strings; empty where the field is absent or null."""
        name, value = self._find(names, [])
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            raise self._wrong(name, value, "a list of strings")
        return tuple(value)

    def integers(self, *names: str) -> tuple[int, ...]:
        """A list of whole numbers; empty where the field is absent or null."""
        name, value = self._find(names, [])
        if not isinstance(value, (list, tuple)) or not all(type(item) is int for item in value):
            raise self._wrong(name, value, "a list of whole numbers")
        return tuple(value)

    def divides(self, part: int, whole: int, part_name: str, whole_name: str) -> int:
        """whole / part. Raises BadInput where it is not a whole number."""
        if whole % part:
            raise BadInput(
                f"{self.where}: {whole_name} {whole} is not a multiple of {part_name} {part}; "
                f"choose {part_name} among its divisors"
            )
        return whole // part

    def refuse(self, name: str, why: str) -> BadInput:
        """The error for a field whose value this reader does not know how to build."""
        return BadInput(f"{self.where}: field {name!r} is {_shown(self.values.get(name))}, {why}")

    def _find(self, names: tuple[str, ...], default: Any) -> tuple[str, Any]:
        for name in names:
            value = self.values.get(name)
            if value is not None:
                return name, value
        if default is None:
            also = f" (or {', '.join(repr(name) for name in names[1:])})" if len(names) > 1 else ""
            raise BadInput(f"{self.where} lacks field {names[0]!r}{also}; add it, the model cannot be built without")
        return names[0], default

    def _wrong(self, name: str, value: Any, wanted: str) -> BadInput:
        return BadInput(f"{self.where}: field {name!r} is {_shown(value)}; it must be {wanted}")


def _shown(value: Any) -> str:
    if isinstance(value, int) and abs(value) > 10**18:
        return "a number above 10^18"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
