"""From ops to op tables: ops that run as one kernel become one row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aisys.ir.graph import Op, Tensor
from aisys.ir.op_table import COLUMNS, OpTable
from aisys.ir.rules import Row, local_bytes, rule


@dataclass(frozen=True, slots=True)
class Kernel:
    """One row of an op table and the ops that it stands for, in program order."""

    row: Row
    ops: tuple[Op, ...]


def kernels(ops: Sequence[Op], tensors: Mapping[str, Tensor]) -> list[Kernel]:
    """One kernel per op, except that neighbours with one `fuse` label and phase run as one.

    Matmuls merge by adding up their `fuse_dim`. Streams merge by adding up their bytes, less what one of them wrote
    and the next reads, which stays in registers.
    """
    out: list[Kernel] = []
    for op in ops:
        row = rule(op.kind).row(op, tensors)
        if row is None:
            continue
        if out and _is_one_kernel(out[-1].ops[-1], op):
            out[-1] = Kernel(_merged(out[-1], row, op, tensors), (*out[-1].ops, op))
        else:
            out.append(Kernel(row, (op,)))
    return out


def _is_one_kernel(before: Op, op: Op) -> bool:
    label = op.options.get("fuse")
    return bool(label) and before.options.get("fuse") == label and before.phase == op.phase


def _merged(before: Kernel, row: Row, op: Op, tensors: Mapping[str, Tensor]) -> Row:
    kind, columns = row
    known = before.row[1]
    if kind != "stream":
        dim = str(op.options["fuse_dim"])
        return kind, {**known, dim: known[dim] + columns[dim]}
    written = {name for earlier in before.ops for name in earlier.writes}
    kept = sum(local_bytes(op, tensors[name]) for name in op.reads if name in written)
    added = {"read_bytes": columns["read_bytes"] - kept, "write_bytes": columns["write_bytes"], "flop": columns["flop"]}
    return kind, {**columns, **{name: known[name] + value for name, value in added.items()}}


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
