"""Reports: what a person gets, and every form in which it is shown."""

from aisys.report.types import Frontier, Measurement, OpLine, Report

__all__ = ["Frontier", "Measurement", "OpLine", "Report"]
