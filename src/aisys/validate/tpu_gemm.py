"""Predicts tables of kind tpu_gemm: C[M,N] = A[M,K] B[K,N] in bf16 on a TPU v6e, repeated on the same operands.

Columns: M, N, K, latency_us_device. The rows with the largest operands are faster than main memory delivers them, so
the operands are taken to stay in the vector memory from one repetition to the next.
"""

import numpy as np

from aisys.cost import Tier
from aisys.ir import OpTable
from aisys.machine import load
from aisys.units import MICRO
from aisys.validate.one_format import product
from aisys.validate.prediction import Options, Prediction
from aisys.validate.table import Table
from aisys.validate.tpu_rows import in_loop

DEVICE, FORMAT = "tpu-v6e", "bf16"


def op_table(table: Table) -> OpTable:
    """The matmul of every row of `table`."""
    return product(FORMAT, **{axis.lower(): table.counts(axis) for axis in "MNK"})


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """The time of every row in us."""
    ops, device = op_table(table), load.device(DEVICE)
    timed = [in_loop(ops.take(np.array([row])), device, tier) for row in range(len(table))]
    time, low, high = (np.array(column) / MICRO for column in zip(*timed, strict=True))
    return Prediction(
        predicted=time, measured=table.numbers("latency_us_device", above=0.0), low=low, high=high, group_columns=()
    )
