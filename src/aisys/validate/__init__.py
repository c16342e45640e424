"""Measurement tables, our prediction of each of their rows, and the error between the two."""

from aisys.validate.prediction import Compared, Options, Prediction, no_interval
from aisys.validate.run import kinds, predict, run
from aisys.validate.summary import Errors, Ranking, Result, kendall_tau_b, regret, summarise
from aisys.validate.table import Table, read_table

__all__ = [
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
    "read_table",
    "regret",
    "run",
    "summarise",
]
