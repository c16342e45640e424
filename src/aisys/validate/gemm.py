"""Predicts tables of kind gemm: single matrix multiplications C[m,n] = A[m,k] B[k,n] by device and number format.

Columns: device, dtype, m, n, k, us_median (or us). dtype: bf16, fp16, fp32, tf32, fp8, fp8_block, nvfp4, int8_w8a8,
int8_wo, int4_wo (weight-only: B is narrow, A and the multiplier have 16 bits). Quantising A is part of the time.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aisys.cost import Tier
from aisys.errors import BadInput
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.validate.gpu_rows import Work, every, predict_work
from aisys.validate.prediction import Options, Prediction
from aisys.validate.table import Table

_OPERANDS = {
    "int8_w8a8": ("int8", "int8", "int8"), "int8": ("int8", "int8", "int8"), "int8_wo": ("bf16", "int8", "bf16"),
    "int4_wo": ("bf16", "int4", "bf16"), "fp8_block": ("fp8", "fp8_block", "fp8"),
}  # fmt: skip
"""dtype of the table to the formats of A, B and the multiplier; a plain format stands for all three."""


def operands(dtypes: NDArray[np.str_]) -> dict[str, NDArray[np.str_]]:
    """The columns a_dtype, b_dtype, out_dtype and math of an op table, for the dtype names of a gemm table.

    >>> {name: str(column[0]) for name, column in operands(np.array(["int4_wo"])).items()}
    {'a_dtype': 'bf16', 'b_dtype': 'int4', 'out_dtype': 'bf16', 'math': 'bf16'}
    """
    names = [str(name) for name in dtypes]
    triples = [_OPERANDS.get(name, (name, name, name)) for name in names]
    out = [name if name in ("fp16", "fp32", "tf32", "fp64") else "bf16" for name in names]
    a, b, math = (np.array(column, dtype=np.str_) for column in zip(*triples, strict=True))
    return {"a_dtype": a, "b_dtype": b, "out_dtype": np.array(out, dtype=np.str_), "math": math}


def op_table(table: Table) -> OpTable:
    """The matmul of every row of `table`."""
    extents = {name: table.counts(name) for name in ("m", "n", "k")}
    return OpTable.of("matmul", batch=1, **extents, b_is_weight=True, **operands(table.texts("dtype")))


def microseconds(table: Table) -> Table:
    """`table` with a column us: its own, or us_median."""
    if table.has("us"):
        return table
    if not table.has("us_median"):
        raise BadInput(f"{table.path}: no column us_median; name the column of the measured times us_median or us")
    return replace(table, columns=FrozenMap({**table.columns, "us": table.columns["us_median"]}))


def work(table: Table) -> Work:
    """The matmul that every row stands for."""
    return Work(parts=[every(op_table(table))])


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """The time of every row in us."""
    return predict_work(microseconds(table), work(table), tier=tier, options=options, group_columns=("device", "dtype"))
