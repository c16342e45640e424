"""What a plug-in of this room gives back: its prediction beside the measurement, row for row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from aisys.cost import Tier
from aisys.errors import BadInput
from aisys.frozen import FrozenMap
from aisys.machine import Device, Link
from aisys.validate.table import Table

Floats = NDArray[np.float64]


class Teacher(Protocol):
    """Measured tables that correct the prices of the devices and the links that they name."""

    def device(self, device: Device) -> Device: ...

    def links(self, links: Mapping[str, Link]) -> Mapping[str, Link]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to predict. constants: `transfer` takes those from fits that saw no row of the device's generation.

    calibration: what a person's own tables teach the calibrated tier; None takes the shipped residuals.
    """

    constants: Literal["fitted", "transfer"] = "fitted"
    calibration: Teacher | None = None

    def taught(self, device: Device) -> Device:
        """`device` with what the tables teach, where there are any."""
        return self.calibration.device(device) if self.calibration else device


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compared:
    """One measured column beside its prediction, arrays [rows of the table]; NaN where a row has none.

    low, high: the 90 % interval in the unit of `predicted`; NaN where the model was never validated.
    """

    predicted: Floats
    measured: Floats
    low: Floats
    high: Floats

    def __post_init__(self) -> None:
        lengths = {len(values) for values in (self.predicted, self.measured, self.low, self.high)}
        if len(lengths) > 1:
            raise BadInput(f"prediction: arrays of {sorted(lengths)} rows; give one value per row of the table")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction(Compared):
    """The main comparison of a table, and the further ones (`others`: column to Compared).

    skipped: (row, reason) of every row without a prediction; row counts from 0, and holds NaN in the arrays.
    group_columns: columns of the table whose values get a summary each. ranking_columns: rows equal in all of
    them are alternatives of one choice, lower is better; empty where the table holds no choices.
    """

    skipped: tuple[tuple[int, str], ...] = ()
    group_columns: tuple[str, ...] = ()
    ranking_columns: tuple[str, ...] = ()
    others: FrozenMap[str, Compared] = field(default_factory=FrozenMap)

    def __post_init__(self) -> None:
        Compared.__post_init__(self)
        left_out = {row for row, _ in self.skipped}
        for row in range(len(self.predicted)):
            is_valid = self.predicted[row] > 0 and self.measured[row] > 0
            if row not in left_out and not is_valid:
                raise BadInput(
                    f"prediction: row {row + 1} has predicted {self.predicted[row]:g} and measured "
                    f"{self.measured[row]:g}; give positive numbers, or skip it with a reason"
                )


class Predict(Protocol):
    """The function `predict` of `validate/<kind>.py`."""

    def __call__(self, table: Table, *, tier: Tier, options: Options) -> Prediction: ...


def no_interval(num_rows: int) -> dict[str, Any]:
    """`low` and `high` of a comparison whose model was never validated."""
    return {"low": np.full(num_rows, np.nan), "high": np.full(num_rows, np.nan)}
