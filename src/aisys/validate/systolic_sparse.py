"""Predicts tables of kind systolic_sparse: runs of SCALE-Sim whose weights are N:M sparse, without stalls.

Columns: those of kind systolic, and mode (layer or row) and ratio (dense or N:M). In mode row, SCALE-Sim draws the kept
weights per column from at most half of a block, so only the block counts: the M of the ratio, or 4 where it names none.
"""

import re

from aisys.cost import Tier
from aisys.cost.systolic_array import Matmuls, Run, run, sparse
from aisys.errors import BadInput
from aisys.machine import SystolicArray
from aisys.validate.prediction import Options, Prediction
from aisys.validate.systolic import predict_runs
from aisys.validate.table import Table

DEFAULT_BLOCK = 4
"""Source: sparsity_block_size of SCALE-Sim 3.0.0's configuration."""


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """Cycles of each run beside those of SCALE-Sim; its buffer accesses beside its own."""
    modes, ratios = table.texts("mode"), table.texts("ratio")

    def run_row(row: int, work: Matmuls, array: SystolicArray) -> Run:
        mode, ratio = str(modes[row]), str(ratios[row])
        density = re.search(r"(\d{1,6})\s*:\s*(\d{1,6})", ratio)
        if mode.startswith("row") and ratio != "dense":
            return sparse.row_wise(work, array, int(density[2]) if density else DEFAULT_BLOCK)
        if density:
            return run(sparse.n_of_m(work, int(density[1]), int(density[2])), array)
        if ratio in ("dense", ""):
            return run(work, array)
        raise BadInput(f"ratio {ratio!r} is neither dense nor N:M, such as 2:4")

    return predict_runs(table, run_row, group_columns=("mode", "ratio"))
