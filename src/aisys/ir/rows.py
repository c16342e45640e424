"""From ops to op tables: ops that run as one kernel become one row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aisys.ir.graph import Op, Tensor
from aisys.ir.op_table import COLUMNS, OpTable
from aisys.ir.rules import Row, rule


@dataclass(frozen=True, slots=True)
class Kernel:
    """One row of an op table and the ops that it stands for, in program order."""

    row: Row
    ops: tuple[Op, ...]


def kernels(ops: Sequence[Op], tensors: Mapping[str, Tensor]) -> list[Kernel]:
    """One kernel per op, except that neighbours with one `fuse` label and phase merge by adding up `fuse_dim`."""
    out: list[Kernel] = []
    for op in ops:
        row = rule(op.kind).row(op, tensors)
        if row is None:
            continue
        kind, columns = row
        label = op.options.get("fuse")
        before = out[-1] if out else None
        if before and label and before.ops[-1].options.get("fuse") == label and before.ops[-1].phase == op.phase:
            dim = str(op.options["fuse_dim"])
            merged = {**before.row[1], dim: before.row[1][dim] + columns[dim]}
            out[-1] = Kernel((kind, merged), (*before.ops, op))
        else:
            out.append(Kernel((kind, columns), (op,)))
    return out


def tables(rows: Sequence[Row]) -> dict[str, tuple[OpTable, list[int]]]:
    """One table per kind with its distinct rows, and for each input row of that kind its row in the table.

    Returns {kind: (table, index)}: index[i] is the table row of the i-th row of that kind.
    """
    seen: dict[str, dict[tuple[Any, ...], int]] = {}
    index: dict[str, list[int]] = {}
    for kind, columns in rows:
        names = COLUMNS[kind]
        key = tuple(columns[name] for name in names)
        known = seen.setdefault(kind, {})
        index.setdefault(kind, []).append(known.setdefault(key, len(known)))
    return {kind: (_table(kind, list(rows_of)), index[kind]) for kind, rows_of in seen.items()}


def _table(kind: str, rows: list[tuple[Any, ...]]) -> OpTable:
    columns = zip(*rows, strict=True)
    return OpTable.of(kind, **{name: list(column) for name, column in zip(COLUMNS[kind], columns, strict=True)})
