"""Evaluated plans kept in a file, so that a search that was stopped goes on where it was."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from aisys.errors import BadInput
from aisys.lower.step import Steps
from aisys.plan import PlanTable
from aisys.search.question import Question


@dataclass(frozen=True, slots=True)
class Store:
    """An SQLite file of evaluated tables of plans, by what was asked and which plans. Safe to share, to interrupt."""

    path: Path

    def get(self, question: Question, plans: PlanTable) -> Steps | None:
        """What an earlier run found for exactly these plans, or None."""
        with self._open() as file:
            row = file.execute("SELECT steps FROM steps WHERE key = ?", (_key(question, plans),)).fetchone()
        return None if row is None else _unpack(row[0])

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
            raise BadInput(f"{self.path} cannot hold results of a search ({error}); give another file") from error


def _key(question: Question, plans: PlanTable) -> str:
    """Everything that a result depends on: graph, machine and framework with all their numbers, tier, plans."""
    parts = (question.graph.digest, repr(question.machine), repr(question.framework), question.tier, plans.digest)
    return sha256("|".join(parts).encode()).hexdigest()


def _pack(steps: Steps) -> bytes:
    out = BytesIO()
    arrays: dict[str, Any] = {f.name: np.array(getattr(steps, f.name)) for f in fields(Steps)}
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def _unpack(blob: bytes) -> Steps:
    with np.load(BytesIO(blob), allow_pickle=False) as arrays:
        values = {f.name: arrays[f.name] for f in fields(Steps)}
    return Steps(**{**values, "reason": values["reason"].tolist()})
