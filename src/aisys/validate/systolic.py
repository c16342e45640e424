"""Predicts tables of kind systolic: whole runs of SCALE-Sim without stalls, cycle for cycle and access for access.

Columns: M, N, K, R, C, dataflow, total_cycles, stall_cycles, sram_ifmap_reads, sram_filter_reads, sram_ofmap_writes.
`total_cycles` is the number of the last cycle, from 0; in os, SCALE-Sim counts rows + cols output writes too many per
fold, which are added here. Runs with stalls are skipped. Every tier is the same.
"""

from dataclasses import replace

import numpy as np

from aisys.cost import Tier, cost
from aisys.errors import AisysError
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.machine import Device, SystolicArray, load
from aisys.units import Sourced
from aisys.validate.prediction import Compared, Options, Prediction, no_interval
from aisys.validate.table import Table

_COLUMNS = ("total_cycles", "sram_ifmap_reads", "sram_filter_reads", "sram_ofmap_writes")


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """Cycles of each run beside those of SCALE-Sim; its buffer accesses beside its own."""
    grids = list(zip(table.counts("R").tolist(), table.counts("C").tolist(), table.texts("dataflow"), strict=True))
    stalls = table.numbers("stall_cycles", above=-1)
    predicted = {name: np.full(len(table), np.nan) for name in _COLUMNS}
    skipped = [(int(row), "the run has stalls") for row in np.flatnonzero(stalls > 0)]
    extents = {axis: table.counts(axis.upper()) for axis in "mnk"}
    for rows, cols, dataflow in dict.fromkeys(grids):
        chosen = np.array([i for i, g in enumerate(grids) if g == (rows, cols, dataflow) and stalls[i] <= 0], int)
        if not len(chosen):
            continue
        ops = OpTable.of(
            "matmul", batch=1, **{axis: extent[chosen] for axis, extent in extents.items()}, b_is_weight=True,
            a_dtype="int8", b_dtype="int8", out_dtype="int8", math="int8",
        )  # fmt: skip
        try:
            counts = cost(ops, _grid(rows, cols, str(dataflow))).counts
        except AisysError as error:
            skipped += [(int(row), str(error)) for row in chosen]
            continue
        surplus = counts["folds"] * (rows + cols) if dataflow == "os" else 0.0
        found = (counts["cycles"] - 1, counts["ifmap_reads"], counts["filter_reads"], counts["ofmap_writes"] + surplus)
        for name, values in zip(_COLUMNS, found, strict=True):
            predicted[name][chosen] = values
    measured = {name: table.numbers(name, above=-1) for name in _COLUMNS}
    others = {
        name: Compared(predicted=predicted[name], measured=measured[name], **no_interval(len(table)))
        for name in _COLUMNS[1:]
    }
    return Prediction(
        predicted=predicted["total_cycles"], measured=measured["total_cycles"], **no_interval(len(table)),
        skipped=tuple(sorted(skipped)), group_columns=("dataflow", "set"), others=FrozenMap(others),
    )  # fmt: skip


def _grid(rows: int, cols: int, dataflow: str) -> Device:
    device = load.device("systolic-32x32")
    array = device.architecture
    assert isinstance(array, SystolicArray)
    extents = {
        name: Sourced(extent, source="the table's row", kind="assumed", key=f"table.{name}")
        for name, extent in (("rows", rows), ("cols", cols))
    }
    return replace(device, architecture=replace(array, dataflow=dataflow, **extents))
