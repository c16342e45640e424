"""Ops as arrays: one row per shape, one table per kind. Cost models see nothing else.

Columns by kind (int64 unless said otherwise):

matmul            batch m n k, a_dtype b_dtype out_dtype math (str). C[batch,m,n] = A[batch,m,k] B[batch,k,n];
                  the b operand is a weight where batch is 1 and b_is_weight is true.
grouped_matmul    groups m n k, a_dtype b_dtype out_dtype math (str). `groups` experts; m rows in all of them together.
conv              batch groups out_channels in_channels out_h out_w kernel_h kernel_w stride, a_dtype b_dtype out_dtype
                  math (str). Channels per group; a depthwise convolution has groups and one channel of each sort.
attention         batch q_len kv_len q_heads kv_heads head_dim value_dim window (0: none) is_causal is_backward (bool),
                  page_size (0: contiguous), q_dtype kv_dtype math (str)
stream            read_bytes write_bytes flop (float64), rows cols, function dtype (str): norms, activations, softmax,
                  rotary embedding, gathers, optimizer updates, copies: everything that moves bytes past an ALU
traversal         record (object: ir.AccessRecord)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.errors import BadInput, unknown_name
from aisys.frozen import FrozenMap

COLUMNS: dict[str, dict[str, type]] = {
    "matmul": dict(
        batch=int, m=int, n=int, k=int, b_is_weight=bool, a_dtype=str, b_dtype=str, out_dtype=str, math=str
    ),
    "grouped_matmul": dict(groups=int, m=int, n=int, k=int, a_dtype=str, b_dtype=str, out_dtype=str, math=str),
    "conv": dict(
        batch=int, groups=int, out_channels=int, in_channels=int, out_h=int, out_w=int, kernel_h=int, kernel_w=int,
        stride=int, a_dtype=str, b_dtype=str, out_dtype=str, math=str,
    ),
    "attention": dict(
        batch=int, q_len=int, kv_len=int, q_heads=int, kv_heads=int, head_dim=int, value_dim=int, window=int,
        is_causal=bool, is_backward=bool, page_size=int, q_dtype=str, kv_dtype=str, math=str,
    ),
    "stream": dict(read_bytes=float, write_bytes=float, flop=float, rows=int, cols=int, function=str, dtype=str),
    "traversal": dict(record=object),
}  # fmt: skip

_EXTENTS = (
    "batch", "groups", "m", "n", "k", "q_len", "kv_len", "q_heads", "kv_heads", "out_channels", "in_channels", "out_h",
    "out_w", "kernel_h", "kernel_w", "stride",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class OpTable:
    """`columns`: name to array [rows], the columns of `kind` as the module says."""

    kind: str
    columns: FrozenMap[str, NDArray[Any]]

    @classmethod
    def of(cls, kind: str, **columns: Any) -> "OpTable":
        """A table from arrays or scalars, broadcast against each other.

        Raises UnknownName for an unknown kind or column, BadInput for a missing column or an extent below 1.

        >>> len(OpTable.of("stream", read_bytes=[1e6, 2e6], write_bytes=0, flop=0, rows=1, cols=1,
        ...                function="copy", dtype="bf16"))
        2
        """
        if kind not in COLUMNS:
            raise unknown_name("op kind", kind, COLUMNS)
        wanted = COLUMNS[kind]
        for name in columns:
            if name not in wanted:
                raise unknown_name(f"column of {kind}", name, wanted)
        missing = [name for name in wanted if name not in columns]
        if missing:
            raise BadInput(f"{kind} table lacks column {missing[0]!r}; it has {', '.join(columns)}")
        arrays = [np.atleast_1d(_array(columns[name], kind_type)) for name, kind_type in wanted.items()]
        broadcast = np.broadcast_arrays(*arrays)
        table = cls(kind, FrozenMap(zip(wanted, broadcast, strict=True)))
        for name in _EXTENTS:
            if name in wanted and len(table) and int(table[name].min()) < 1:
                raise BadInput(f"{kind}: {name} is {int(table[name].min())}; every extent must be at least 1")
        return table

    def __getitem__(self, column: str) -> NDArray[Any]:
        return self.columns[column]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def take(self, rows: NDArray[Any]) -> "OpTable":
        """The table of the chosen rows (indices or mask)."""
        return OpTable(self.kind, FrozenMap({name: c[rows] for name, c in self.columns.items()}))

    @staticmethod
    def join(tables: "Sequence[OpTable]") -> "OpTable":
        """All rows of tables of one kind, in order."""
        first = tables[0]
        return OpTable(
            first.kind, FrozenMap({name: np.concatenate([t[name] for t in tables]) for name in first.columns})
        )

    @cached_property
    def digest(self) -> str:
        """Content hash of all rows."""
        state = sha256(self.kind.encode())
        for name, column in self.columns.items():
            state.update(name.encode())
            is_bytes = column.dtype != object
            state.update(np.ascontiguousarray(column).tobytes() if is_bytes else repr(list(column)).encode())
        return state.hexdigest()[:16]


def _array(value: Any, kind: type) -> NDArray[Any]:
    if kind is str:
        return np.asarray(value, dtype=np.str_)
    if kind is object:
        values = value if isinstance(value, (list, tuple)) else [value]
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array
    wanted = {int: np.int64, float: np.float64, bool: np.bool_}[kind]
    return np.asarray(value).astype(wanted)
