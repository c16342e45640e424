"""Evaluated plans kept in a file, so that a search that was stopped goes on where it was."""

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from aisys import plugins
from aisys.errors import BadInput
from aisys.lower.step import Steps
from aisys.plan import PlanTable
from aisys.search.question import Question


@dataclass(frozen=True, slots=True)
class Store:
    """An SQLite file of evaluated tables of plans, by what was asked, which plans, and the code that evaluates them.

    Safe to share and to interrupt: a table of plans is in it whole or not at all. Results of other code, or with a
    damaged content, are as if they were not there.
    """

    path: Path

    def get(self, question: Question, plans: PlanTable) -> Steps | None:
        """What an earlier run found for exactly these plans, or None."""
        with self._open() as file:
            row = file.execute("SELECT steps FROM steps WHERE key = ?", (_key(question, plans),)).fetchone()
        return None if row is None else _unpack(row[0], len(plans))

    def put(self, question: Question, plans: PlanTable, steps: Steps) -> None:
        """Keep the results of one table of plans."""
        with self._open() as file, file:
            file.execute("INSERT OR REPLACE INTO steps VALUES (?, ?)", (_key(question, plans), _pack(steps)))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The file with its table. Raises BadInput where it cannot be read or written (a full disk, another file)."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=30)) as file:
                file.execute("CREATE TABLE IF NOT EXISTS steps (key TEXT PRIMARY KEY, steps BLOB NOT NULL)")
                yield file
        except (sqlite3.Error, OSError) as error:
            raise BadInput(
                f"{self.path} cannot hold results of a search ({error}); delete it, or give another folder"
            ) from error


def _key(question: Question, plans: PlanTable) -> str:
    """Everything that a result depends on: graph, machine and framework with all their numbers, tier, plans, code."""
    asked = (question.graph.digest, repr(question.machine), repr(question.framework), question.tier, plans.digest)
    return sha256("|".join((*asked, code_digest())).encode()).hexdigest()


@cache
def code_digest() -> str:
    """Content hash of the sources and catalogues of AISys and of the modules that its outside plug-ins come from."""
    package = Path(plugins.__file__).parent
    state = sha256()
    files = [path for path in package.rglob("*") if path.suffix in (".py", ".toml")]
    for path in (*sorted(files), *plugins.outside_files()):
        state.update(f"{path.name}\n".encode() + path.read_bytes())
    return state.hexdigest()


def _pack(steps: Steps) -> bytes:
    out = BytesIO()
    arrays: dict[str, Any] = {f.name: np.array(getattr(steps, f.name)) for f in fields(Steps)}
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def _unpack(blob: bytes, num_plans: int) -> Steps | None:
    """The results, or None where the bytes are damaged."""
    try:
        with np.load(BytesIO(blob), allow_pickle=False) as arrays:
            values = {f.name: arrays[f.name] for f in fields(Steps)}
    except (ValueError, KeyError, OSError, BadZipFile, zlib.error):
        return None
    if any(len(value) != num_plans for value in values.values()):
        return None
    return Steps(**{**values, "reason": values["reason"].tolist()})
