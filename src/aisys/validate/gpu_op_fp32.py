"""Predicts tables of kind gpu_op_fp32: single PyTorch kernels in fp32 without TF32.

Columns: device, op, B, M, N, K, H, us. linear and bmm contract N: [B] C[M,K] = A[M,N] B[N,K], as the launched grids
of the table show; others: B rows of H columns.
"""

import numpy as np

from aisys.cost import Tier
from aisys.ir import OpTable
from aisys.validate.gpu_rows import Part, Work, predict_work
from aisys.validate.one_format import product
from aisys.validate.prediction import Options, Prediction
from aisys.validate.table import Table

FUNCTIONS = {
    "add": ("add", 2), "mul": ("mul", 2), "relu": ("relu", 1), "gelu": ("gelu", 1), "tanh": ("tanh", 1),
    "ln": ("layernorm", 1), "softmax": ("softmax", 1),
}  # fmt: skip
"""Op name to the function it computes and the number of tensors it reads; each writes one."""


def parts(table: Table) -> tuple[list[Part], list[tuple[int, str]]]:
    """The op of every row, and the rows that no rule covers."""
    names = table.texts("op")
    matmuls = np.flatnonzero(np.isin(names, ("linear", "bmm")))
    streams = np.flatnonzero(np.isin(names, list(FUNCTIONS)))
    found = []
    if len(matmuls):
        found.append(Part(rows=matmuls, ops=_matmul(table.take(matmuls))))
    if len(streams):
        found.append(Part(rows=streams, ops=_stream(table.take(streams))))
    unknown = np.flatnonzero(~np.isin(names, ("linear", "bmm", *FUNCTIONS)))
    known = ", ".join(("linear", "bmm", *FUNCTIONS))
    return found, [(int(row), f"op {str(names[row])!r} has no rule; known: {known}") for row in unknown]


def _matmul(table: Table) -> OpTable:
    return product(
        "fp32", batch=table.counts("B"), m=table.counts("M"), n=table.counts("K"), k=table.counts("N"),
        b_is_weight=table.texts("op") == "linear",
    )  # fmt: skip


def _stream(table: Table) -> OpTable:
    rows, cols = table.counts("B"), table.counts("H")
    names = table.texts("op")
    reads = np.array([FUNCTIONS[str(name)][1] for name in names])
    bytes_each = 4.0 * rows * cols
    return OpTable.of(
        "stream", read_bytes=reads * bytes_each, write_bytes=bytes_each, flop=0, rows=rows, cols=cols,
        function=[FUNCTIONS[str(name)][0] for name in names], dtype="fp32",
    )  # fmt: skip


def work(table: Table) -> Work:
    """The op that every row stands for."""
    found, unknown = parts(table)
    return Work(parts=found, skipped=unknown)


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """The time of every row in us."""
    return predict_work(table, work(table), tier=tier, options=options, group_columns=("device", "op"))
