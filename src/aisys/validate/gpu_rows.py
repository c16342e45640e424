"""Prices the rows of a measured table as one or several ops each, on the device and the stack that each row names."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aisys.cost import CostTable, Tier, cost
from aisys.cost.gpu import stack as stacks
from aisys.errors import AisysError, Unsupported
from aisys.ir import OpTable
from aisys.machine import Device, Gpu, load
from aisys.units import MICRO
from aisys.validate.prediction import Floats, Options, Prediction
from aisys.validate.table import Table

_FORMATS = {"bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32", "float": "fp32"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """One op of some rows: `rows` are indices into the measured table, one per row of `ops`."""

    rows: NDArray[np.int64]
    ops: OpTable


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fixed:
    """Seconds of some rows that no GPU model prices (a collective), with the factors of their interval."""

    rows: NDArray[np.int64]
    time_s: Floats
    error_low: Floats
    error_high: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Work:
    """What the rows of a table stand for: the sum of their parts. skipped: (row, reason) of rows without any.

    devices, stacks: of every row, where the columns of that name do not say it.
    """

    parts: Sequence[Part]
    fixed: Sequence[Fixed] = ()
    skipped: Sequence[tuple[int, str]] = ()
    devices: NDArray[np.str_] | None = None
    stacks: NDArray[np.str_] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    time_s: Floats
    low_s: Floats
    high_s: Floats


def every(ops: OpTable) -> Part:
    """A part that stands for all rows of the table."""
    return Part(rows=np.arange(len(ops)), ops=ops)


def format_names(names: NDArray[np.str_]) -> NDArray[np.str_]:
    """Names of number formats as frameworks write them, in ours.

    >>> format_names(np.array(["bfloat16", "fp8"])).tolist()
    ['bf16', 'fp8']
    """
    known = {str(name): _FORMATS.get(str(name).lower(), str(name).lower()) for name in np.unique(names)}
    return np.array([known[str(name)] for name in names], dtype=np.str_)


def predict_work(
    table: Table, work: Work, *, tier: Tier, options: Options, group_columns: tuple[str, ...]
) -> Prediction:
    """The summed time of every row's parts beside its column `us`; intervals add up as if errors went together.

    A row of an unknown device, or with an op that its device has no model for, is skipped with that reason.
    """
    sums = _Sums(*(np.zeros(len(table)) for _ in range(3)))
    reasons = dict(work.skipped)
    devices, stack_of = named(table, work)
    for name in np.unique(devices):
        try:
            device = options.taught(_gpu(str(name), options))
        except AisysError as error:
            reasons |= {int(row): str(error) for row in np.flatnonzero(devices == name)}
            continue
        for stack in np.unique(stack_of[devices == name]):
            chosen = (devices == name) & (stack_of == stack)
            under = stacks.under(device, str(stack)) if stack else device
            for part in work.parts:
                mine = chosen[part.rows]
                if mine.any():
                    _add(sums, reasons, part.rows[mine], part.ops.take(mine), under, tier)
    for one in work.fixed:
        _count(sums, one)
    measured = table.numbers("us", above=0.0)
    for values in (sums.time_s, sums.low_s, sums.high_s):
        values[np.array(sorted(reasons), dtype=np.int64)] = np.nan
    return Prediction(
        predicted=sums.time_s / MICRO, measured=measured, low=sums.low_s / MICRO, high=sums.high_s / MICRO,
        skipped=tuple(sorted(reasons.items())), group_columns=group_columns,
    )  # fmt: skip


def named(table: Table, work: Work) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Device and stack of every row; "" for no stack."""
    devices = table.texts("device") if work.devices is None else work.devices
    if work.stacks is not None:
        return devices, work.stacks
    return devices, table.texts("stack") if table.has("stack") else np.full(len(table), "")


def _gpu(name: str, options: Options) -> Device:
    device = load.device(name, constants=options.constants)
    if not isinstance(device.architecture, Gpu):
        raise Unsupported(f"{name} is not a GPU; this kind of table is about GPUs")
    return device


def _add(
    sums: _Sums, reasons: dict[int, str], rows: NDArray[np.int64], ops: OpTable, device: Device, tier: Tier
) -> None:
    """Adds the price of `ops` to their rows; where one of them has no price, the others still get theirs."""
    try:
        priced: CostTable = cost(ops, device, tier=tier)
    except AisysError as error:
        if len(rows) == 1:
            reasons[int(rows[0])] = str(error)
            return
        half = len(rows) // 2
        for some in (np.arange(half), np.arange(half, len(rows))):
            _add(sums, reasons, rows[some], ops.take(some), device, tier)
        return
    low, high = priced.error_low, priced.error_high
    _count(sums, Fixed(rows=rows, time_s=priced.time_s, error_low=low, error_high=high))


def _count(sums: _Sums, one: Fixed) -> None:
    np.add.at(sums.time_s, one.rows, one.time_s)
    np.add.at(sums.low_s, one.rows, one.time_s * one.error_low)
    np.add.at(sums.high_s, one.rows, one.time_s * one.error_high)
