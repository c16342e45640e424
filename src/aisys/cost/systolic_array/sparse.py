"""Weights of N:M density on a weight-stationary grid: rows of zeros are left out, and K shrinks.

Source: the sparse runs of SCALE-Sim version 3 (Raj et al. 2025). Layer-wise, all columns keep the first n of every m
weights. Row-wise, every column keeps up to half of each block, and two blocks share the rows of one.
"""

from dataclasses import replace

import numpy as np

from aisys.cost.gpu.timing import Floats
from aisys.cost.systolic_array.exact import Run, run
from aisys.cost.systolic_array.products import Matmuls, ceil_div
from aisys.errors import BadInput, Unsupported
from aisys.machine import SystolicArray

METADATA_WORD_BITS = 32


def n_of_m(work: Matmuls, n: int, m: int) -> Matmuls:
    """The product with weights of which all columns keep n of every m. Raises BadInput for another n than 1 to m.

    `run` gives SCALE-Sim's layer-wise run of it.
    """
    if not 1 <= n <= m:
        raise BadInput(f"{n}:{m} is no density; keep from 1 to {m} of every {m} weights")
    return replace(work, kept=n, of=m)


def row_wise(work: Matmuls, array: SystolicArray, block: int) -> Run:
    """The run of weights with at most block / 2 of every `block` in a column; the grid reads all that it may need.

    Raises Unsupported off ws, and for a block that is odd or does not divide twice the rows.
    """
    if array.dataflow != "ws":
        raise Unsupported(f"sparse weights stay in place; dataflow {array.dataflow!r} has no such run, use 'ws'")
    rows = int(array.rows)
    if block < 2 or block % 2 or 2 * rows % block:
        raise Unsupported(f"blocks of {block} do not fill {rows} rows twice over; use an even divisor of {2 * rows}")
    done = run(replace(work, k=ceil_div(work.k, 2 * block) * block), array)
    return replace(done, ifmap_reads=done.folds * (work.m + rows - 1) * rows * block)


def metadata_words(work: Matmuls) -> Floats:
    """Words of 32 bit that say where the kept weights stand: the position in its block for each."""
    bits = np.ceil(np.log2(work.of))
    return np.asarray(work.batch * work.kept_k * work.n * bits / METADATA_WORD_BITS)
