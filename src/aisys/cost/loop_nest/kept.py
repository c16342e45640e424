"""Optimal mappings that earlier processes found, by what was asked and by the code that searches.

One SQLite file in the user's cache folder (`AISYS_CACHE`, else `XDG_CACHE_HOME/aisys` or `~/.cache/aisys`). A file that
cannot be read or written is as if it were not there: what it would have told is searched for again.
"""

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

FILE = "loop_nests.sqlite"


def kept(question: tuple[Any, ...]) -> Any:
    """The JSON value that was kept for a question, or None."""
    try:
        with _open() as file:
            row = file.execute("SELECT answer FROM answers WHERE key = ?", (_key(question),)).fetchone()
        return None if row is None else json.loads(row[0])
    except (sqlite3.Error, OSError, ValueError):
        return None


def keep_answer(question: tuple[Any, ...], answer: Any) -> None:
    """Keeps a JSON value for a question, where there is a place for it."""
    try:
        with _open() as file, file:
            file.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (_key(question), json.dumps(answer)))
    except (sqlite3.Error, OSError):
        return


@contextmanager
def _open() -> Iterator[sqlite3.Connection]:
    named, cached = os.environ.get("AISYS_CACHE"), os.environ.get("XDG_CACHE_HOME")
    folder = Path(named) if named else (Path(cached) if cached else Path.home() / ".cache") / "aisys"
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / FILE, timeout=10)) as file:
        file.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)")
        yield file


def _key(question: tuple[Any, ...]) -> str:
    return sha256(f"{_code()}|{_text(question)}".encode()).hexdigest()


@cache
def _code() -> str:
    """Content hash of the sources of this folder."""
    state = sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        state.update(f"{path.name}\n".encode() + path.read_bytes())
    return state.hexdigest()


def _text(value: Any) -> str:
    """The same text for equal values, in every process."""
    if is_dataclass(value):
        return f"{type(value).__name__}({','.join(_text(getattr(value, field.name)) for field in fields(value))})"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_text(k)}:{_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (set, frozenset)):
        return "{" + ",".join(sorted(map(_text, value))) + "}"
    if isinstance(value, (tuple, list)):
        return "(" + ",".join(map(_text, value)) + ")"
    return repr(value)
