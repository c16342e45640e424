"""One machine file as an Entry: its words, and its numbers by dotted key, each with where it came from.

A file is not trusted: whatever it holds, the answer is an Entry or one BadInput that names the file and the field.
"""

import os
import stat
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from aisys.errors import BadInput
from aisys.frozen import FrozenMap
from aisys.units import Kind, Sourced

MAX_FILE_BYTES = 1_000_000
MAX_LINE_CHARACTERS = 2_000
MAX_LINE_DOTS = 32
"""Bounds the time that hostile keys cost: the TOML reader is quadratic in the parts of a dotted key."""
MAX_DEPTH = 8
MAX_MAGNITUDE = 1e40
_KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """What one file (or one table inside it) says: `words` by field, `facts` by dotted key, `parts` by field.

    `origin` is the file, for messages. Entries compare by identity: equal files are read once.
    """

    name: str
    origin: str
    words: FrozenMap[str, str]
    aliases: tuple[str, ...]
    facts: FrozenMap[str, Sourced]
    parts: FrozenMap[str, "Entry"]


def read_bytes(path: Path) -> bytes:
    """The bytes of a regular file of at most 1 MB. Raises BadInput for anything else, before reading it."""
    if not str(path).isprintable():
        raise BadInput(f"{ascii(str(path))[:200]}: not a file name; give the path of a .toml file")
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadInput(f"{path}: not a regular file; give a .toml file")
        if status.st_size > MAX_FILE_BYTES:
            raise BadInput(f"{path}: {status.st_size} bytes; a machine file has at most {MAX_FILE_BYTES}")
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES)
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "not a file name"
        raise BadInput(f"{str(path)[:200]!r}: cannot be read ({reason}); give the path of a .toml file") from error


def entry(path: Path) -> Entry:
    """The Entry that the file at `path` describes. Raises BadInput where it is not a machine file."""
    return parse(read_bytes(path), str(path), path.name.removesuffix(".toml"))


@lru_cache(maxsize=4096)
def parse(text: bytes, origin: str, name: str) -> Entry:
    """The Entry in `text`. `origin` stands in messages, `name` where the text names nothing."""
    return _entry(_document(text, origin), origin, name, depth=0)


def head(text: bytes, origin: str) -> tuple[str, ...]:
    """The aliases that a file gives before its first table, without reading the rest."""
    before = text.split(b"\n[", 1)[0]
    return _aliases(_document(before, origin), origin)


def _document(text: bytes, origin: str) -> dict[str, Any]:
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{origin}: not UTF-8 text (byte {error.start}); give a .toml file") from error
    for number, line in enumerate(decoded.split("\n"), 1):
        if len(line) > MAX_LINE_CHARACTERS:
            raise BadInput(f"{origin}: line {number} has {len(line)} characters; at most {MAX_LINE_CHARACTERS}")
        if line.count(".") > MAX_LINE_DOTS:
            raise BadInput(f"{origin}: line {number} has {line.count('.')} dots; at most {MAX_LINE_DOTS}")
    try:
        return tomllib.loads(decoded)
    except RecursionError as error:
        raise BadInput(f"{origin}: nested too deeply; at most {MAX_DEPTH} levels") from error
    except ValueError as error:
        raise BadInput(f"{origin}: not TOML: {' '.join(str(error).split())[:200]}") from error


def _entry(document: dict[str, Any], origin: str, name: str, *, depth: int) -> Entry:
    if depth > MAX_DEPTH:
        raise BadInput(f"{origin}: nested too deeply; at most {MAX_DEPTH} levels")
    words: dict[str, str] = {}
    parts: dict[str, Entry] = {}
    for field, value in document.items():
        if field in ("facts", "aliases"):
            continue
        if isinstance(value, str):
            words[field] = _word(value, f"{origin}: {field[:80]}")
        elif isinstance(value, dict):
            parts[field] = _entry(value, origin, f"{document.get('name', name)}.{field}", depth=depth + 1)
        else:
            raise BadInput(f"{origin}: {_misplaced(field, value)}")
    own = words.get("name", name)
    facts = _facts(document.get("facts", []), own, origin)
    return Entry(
        name=own, origin=origin, words=FrozenMap(words), aliases=_aliases(document, origin), facts=FrozenMap(facts),
        parts=FrozenMap(parts),
    )  # fmt: skip


def _misplaced(field: str, value: object) -> str:
    if isinstance(value, (int, float)):
        return f"{field[:80]} = {_shown(value)} has no source; move it into a [[facts]] group with a source and a kind"
    return f"{field[:80]} is {_type_name(value)}; it should be a text or a table"


def _word(value: str, where: str) -> str:
    if not value.strip() or len(value) > 200 or not value.isprintable():
        raise BadInput(f"{where} is {_shown(value)}; give a text of 1 to 200 printable characters")
    return value


def _aliases(document: dict[str, Any], origin: str) -> tuple[str, ...]:
    aliases = document.get("aliases", [])
    if not isinstance(aliases, list) or not all(isinstance(a, str) for a in aliases):
        raise BadInput(f"{origin}: aliases is {_type_name(aliases)}; give a list of texts")
    return tuple(_word(alias, f"{origin}: an alias") for alias in aliases)


def _facts(groups: object, name: str, origin: str) -> dict[str, Sourced]:
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        raise BadInput(f"{origin}: facts is {_type_name(groups)}; write each group of numbers under [[facts]]")
    facts: dict[str, Sourced] = {}
    for position, group in enumerate(groups, 1):
        where = f"{origin}: [[facts]] group {position}"
        source, kind = _origin_of(group, where)
        numbers = {field: value for field, value in group.items() if field not in ("source", "kind")}
        for key, value in _flat(numbers, "", where, depth=0):
            if key in facts:
                raise BadInput(f"{where}: {key} is given twice ({facts[key]:g} and {value:g}); keep one")
            facts[key] = Sourced(value, source=source, kind=kind, key=f"{name}.{key}")
    return facts


def _origin_of(group: dict[str, Any], where: str) -> tuple[str, Kind]:
    source, named = group.get("source"), group.get("kind")
    if not isinstance(source, str) or not source.strip():
        raise BadInput(f"{where}: source is {_shown(source)}; say where its numbers come from, in a text")
    for kind in _KINDS:
        if kind == named:
            return source, kind
    raise BadInput(f"{where}: kind is {_shown(named)}; use one of {', '.join(_KINDS)}")


def _flat(table: dict[str, Any], prefix: str, where: str, *, depth: int) -> Iterator[tuple[str, float]]:
    if depth > MAX_DEPTH:
        raise BadInput(f"{where}: {prefix[:80]} is nested too deeply; at most {MAX_DEPTH} levels")
    for field, value in table.items():
        key = prefix + field
        if isinstance(value, list):
            value = {str(index): item for index, item in enumerate(value)}
        if isinstance(value, dict):
            yield from _flat(value, f"{key}.", where, depth=depth + 1)
        else:
            yield key, _number(value, f"{where}: {key[:120]}")


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadInput(f"{where} is {_shown(value)}{' (a text)' if isinstance(value, str) else ''}; give a number")
    if value != value or abs(value) > MAX_MAGNITUDE:  # NaN is not equal to itself; integers may exceed any float
        raise BadInput(f"{where} is {_shown(value)}; it should be a finite number of at most {MAX_MAGNITUDE:g}")
    return float(value)


def _shown(value: object) -> str:
    text = "missing" if value is None else repr(value) if isinstance(value, (str, int, float)) else _type_name(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _type_name(value: object) -> str:
    names = {bool: "a truth value", int: "a number", float: "a number", str: "a text", list: "a list", dict: "a table"}
    return names.get(type(value), f"a {type(value).__name__}")
