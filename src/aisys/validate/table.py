"""Measurement tables: CSV files whose comment header says what they are.

# table: gemm
# kind: measured
# source: nsys on our cluster, 2025
# units: us
device,m,n,k,us
h100-sxm,4096,4096,4096,210.4
"""

import csv
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from aisys.errors import BadInput, unknown_name
from aisys.frozen import FrozenMap

KINDS = ("measured", "simulated", "analytic", "assumed", "configuration")
"""Where the figures of a table come from: silicon or a real run, another program, a closed form, a guess; or none."""

FIELDS = ("table", "kind", "source", "hardware", "units", "note")
MAX_BYTES, MAX_CELLS = 256_000_000, 20_000_000
MAX_COUNT = 2**53


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """One table: `columns` holds the text of every cell, name to [rows]; `rows` their numbers in the file, from 1.

    kind: the plug-in that predicts it (`# table:`). evidence: one of KINDS (`# kind:`). header: the other fields of
    the comment header in lower case; comments that are no field stand under `note`.
    """

    path: Path
    kind: str
    evidence: str
    header: FrozenMap[str, str]
    columns: FrozenMap[str, tuple[str, ...]]
    rows: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def has(self, column: str) -> bool:
        """Whether the table has `column`."""
        return column in self.columns

    def texts(self, column: str) -> NDArray[np.str_]:
        """The cells of `column` as they stand in the file, array [rows]. Raises BadInput where it is missing."""
        return np.array(self._cells(column), dtype=np.str_)

    def numbers(self, column: str, *, above: float = -inf, empty: float | None = None) -> NDArray[np.float64]:
        """`column` as finite numbers greater than `above`, array [rows]; empty cells become `empty`.

        Raises BadInput with file, row and column for anything else, and for an empty cell where `empty` is None.
        """
        return np.array([self._number(column, i, above, empty) for i in range(len(self._cells(column)))], np.float64)

    def counts(self, column: str, *, least: int = 1, empty: int | None = None) -> NDArray[np.int64]:
        """`column` as whole numbers of at least `least`, array [rows]; empty cells become `empty`.

        Raises BadInput as `numbers` does.
        """
        values = self.numbers(column, above=least - 1, empty=empty)
        for i in np.flatnonzero((values != np.floor(values)) | (values > MAX_COUNT)):
            raise self._wrong(column, int(i), f"a whole number from {least} to {MAX_COUNT}")
        return values.astype(np.int64)

    def take(self, rows: Sequence[int] | NDArray[Any]) -> Self:
        """The table of some rows: indices from 0, or a mask."""
        chosen = [int(i) for i in np.arange(len(self))[np.asarray(rows)]]
        columns = {name: tuple(cells[i] for i in chosen) for name, cells in self.columns.items()}
        return replace(self, columns=FrozenMap(columns), rows=tuple(self.rows[i] for i in chosen))

    def _cells(self, column: str) -> tuple[str, ...]:
        if column not in self.columns:
            raise BadInput(f"{self.path.name}: column {column!r} is missing; it has {', '.join(self.columns)[:200]}")
        return self.columns[column]

    def _number(self, column: str, row: int, above: float, empty: float | None) -> float:
        cell = self.columns[column][row]
        if not cell and empty is not None:
            return empty
        bound = f" above {above:g}" if above > -inf else ""
        try:
            value = float(cell)
        except ValueError:
            raise self._wrong(column, row, f"a number{bound}") from None
        if not isfinite(value) or value <= above:
            raise self._wrong(column, row, f"a finite number{bound}")
        return value

    def _wrong(self, column: str, row: int, wanted: str) -> BadInput:
        cell = self.columns[column][row]
        shown = repr(cell[:40]) if cell else "empty"
        return BadInput(f"{self.path.name}: row {self.rows[row]}, column {column!r} is {shown}; give {wanted}")


def read_table(path: str | Path) -> Table:
    """The table in the CSV file at `path`. Row 1 is the first line after the column names.

    Raises BadInput, in one sentence, for a file that is missing, too large, not text, without `# table:` and `# kind:`
    lines, without rows, or whose rows have not one cell per column.
    """
    path = Path(path)
    lines = _text(path).replace("\r\n", "\n").split("\n")
    header = _header(path, lines)
    for field in ("table", "kind"):
        if not header.get(field):
            raise BadInput(f"{path.name}: the comment header has no '# {field}:' line; say what the table is")
    evidence = header["kind"].split()[0].rstrip(",;").lower()
    if evidence not in KINDS:
        raise BadInput(f"{path.name}: {unknown_name('kind of table', evidence, KINDS)}")
    names, records = _records(path, lines)
    columns = {name: tuple(record[i] for record in records) for i, name in enumerate(names)}
    return Table(
        path=path, kind=header["table"], evidence=evidence, columns=FrozenMap(columns),
        header=FrozenMap({field: text for field, text in header.items() if field not in ("table", "kind")}),
        rows=tuple(range(1, len(records) + 1)),
    )  # fmt: skip


def _text(path: Path) -> str:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadInput(f"{path}: not a file; give a CSV table")
        if status.st_size > MAX_BYTES:
            raise BadInput(f"{path.name}: {status.st_size:,} bytes; a table has at most {MAX_BYTES:,}")
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); give a CSV table") from None
    except ValueError:
        raise BadInput(f"{str(path)[:80]!r} is not a path; give a CSV table") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path.name}: byte {error.start} is not UTF-8 text; give a CSV table") from None
    if "\0" in text:
        raise BadInput(f"{path.name}: has a zero byte; give a CSV table in plain text")
    return text


def _header(path: Path, lines: Sequence[str]) -> dict[str, str]:
    """The fields of the comment lines before the column names."""
    found: dict[str, str] = {}
    for line in lines:
        if line.strip() and not line.startswith("#"):
            break
        comment = line.lstrip("#").strip()
        if not comment:
            continue
        name, colon, value = comment.partition(":")
        field = {"sources": "source"}.get(name.strip().lower(), name.strip().lower())
        if not colon or field not in FIELDS:
            field, value = "note", comment
        if field in found and field in ("table", "kind"):
            raise BadInput(f"{path.name}: the comment header has two '# {field}:' lines; keep one")
        found[field] = f"{found[field]}\n{value.strip()}" if field in found else value.strip()
    return found


def _records(path: Path, lines: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """The column names, and the cells of each row."""
    reader = _rows(path, lines)
    names = next(reader, [])
    if not names:
        raise BadInput(f"{path.name}: has no line of column names; give a CSV table")
    for i, name in enumerate(names):
        if not name or name in names[:i]:
            raise BadInput(f"{path.name}: column {i + 1} is named {name[:40]!r}; give every column a name of its own")
    records: list[list[str]] = []
    for record in reader:
        if len(record) != len(names):
            raise BadInput(f"{path.name}: row {len(records) + 1} has {len(record)} cells; it needs {len(names)}")
        records.append(record)
        if len(records) * len(names) > MAX_CELLS:
            raise BadInput(f"{path.name}: more than {MAX_CELLS:,} cells; split the table")
    if not records:
        raise BadInput(f"{path.name}: has no rows; give at least one")
    return names, records


def _rows(path: Path, lines: Sequence[str]) -> Iterator[list[str]]:
    content = (line for line in lines if line.strip() and not line.startswith("#"))
    try:
        for record in csv.reader(content, strict=True):
            yield [cell.strip() for cell in record]
    except csv.Error as error:
        raise BadInput(f"{path.name}: is not a CSV table ({error}); check its quotes") from None
