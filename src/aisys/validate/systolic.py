"""Predicts tables of kind systolic: whole runs of SCALE-Sim without stalls, cycle for cycle and access for access.

Columns: M, N, K, R, C, dataflow, total_cycles, stall_cycles, sram_ifmap_reads, sram_filter_reads, sram_ofmap_writes.
`total_cycles` is the number of the last cycle, from 0; in os, SCALE-Sim counts rows + cols output writes too many per
fold, which are added here. Runs with stalls are skipped. Every tier is the same.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from aisys.cost import Tier
from aisys.cost.systolic_array import Matmuls, Run, run
from aisys.errors import AisysError
from aisys.frozen import FrozenMap
from aisys.machine import SystolicArray, load
from aisys.units import Sourced
from aisys.validate.prediction import Compared, Options, Prediction, no_interval
from aisys.validate.table import Table

_COLUMNS = ("total_cycles", "sram_ifmap_reads", "sram_filter_reads", "sram_ofmap_writes")

RunRow = Callable[[int, Matmuls, SystolicArray], Run]
"""The run of one row of the table, given its number, its product and its grid."""


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """Cycles of each run beside those of SCALE-Sim; its buffer accesses beside its own."""
    return predict_runs(table, lambda row, work, array: run(work, array), group_columns=("dataflow", "set"))


def predict_runs(table: Table, run_row: RunRow, *, group_columns: tuple[str, ...]) -> Prediction:
    """The same for a table whose rows run as `run_row` says."""
    stalls = table.numbers("stall_cycles", above=-1)
    extents = {axis: table.counts(axis) for axis in "MNKRC"}
    dataflows = table.texts("dataflow")
    predicted = {name: np.full(len(table), np.nan) for name in _COLUMNS}
    skipped = []
    for row in range(len(table)):
        size = {axis: int(extent[row]) for axis, extent in extents.items()}
        if stalls[row] > 0:
            skipped.append((row, "the run has stalls"))
            continue
        try:
            done = run_row(row, _product(size), _grid(size["R"], size["C"], str(dataflows[row])))
        except AisysError as error:
            skipped.append((row, str(error)))
            continue
        surplus = done.folds * (size["R"] + size["C"]) if dataflows[row] == "os" else 0.0
        found = (done.cycles - 1, done.ifmap_reads, done.filter_reads, done.ofmap_writes + surplus)
        for name, values in zip(_COLUMNS, found, strict=True):
            predicted[name][row] = float(values[0])
    measured = {name: np.round(table.numbers(name, above=-1), _DIGITS) for name in _COLUMNS}
    predicted = {name: np.round(values, _DIGITS) for name, values in predicted.items()}
    others = {
        name: Compared(predicted=predicted[name], measured=measured[name], **no_interval(len(table)))
        for name in _COLUMNS[1:]
    }
    return Prediction(
        predicted=predicted["total_cycles"], measured=measured["total_cycles"], **no_interval(len(table)),
        skipped=tuple(skipped), group_columns=group_columns, others=FrozenMap(others),
    )  # fmt: skip


_DIGITS = 3
"""SCALE-Sim adds up reads of m / n each as fractions, which leaves 119.99999999999999 for 120."""


def _product(size: dict[str, int]) -> Matmuls:
    m, n, k = (np.array([size[axis]]) for axis in "MNK")
    one = np.ones(1)
    return Matmuls(batch=np.array([1]), m=m, n=n, k=k, a_bytes=one, b_bytes=one, out_bytes=one)


def _grid(rows: int, cols: int, dataflow: str) -> SystolicArray:
    array = load.device("systolic-32x32").architecture
    assert isinstance(array, SystolicArray)

    def extent(name: str, value: int) -> Sourced:
        return Sourced(value, source="the table's row", kind="assumed", key=f"table.{name}")

    return replace(array, dataflow=dataflow, rows=extent("rows", rows), cols=extent("cols", cols))
