"""Measurement tables, our prediction of each of their rows, and the error between the two."""

from aisys.validate.calibration import Calibration, read_calibration
from aisys.validate.prediction import Compared, Options, Prediction, no_interval
from aisys.validate.run import kinds, predict, run, teacher
from aisys.validate.summary import Errors, Ranking, Result, kendall_tau_b, regret, summarise
from aisys.validate.table import Table, read_table

__all__ = [
    "Calibration",
    "Compared",
    "Errors",
    "Options",
    "Prediction",
    "Ranking",
    "Result",
    "Table",
    "kendall_tau_b",
    "kinds",
    "no_interval",
    "predict",
    "read_calibration",
    "read_table",
    "regret",
    "run",
    "summarise",
    "teacher",
]
