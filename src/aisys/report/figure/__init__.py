"""Figures for papers: drawn once as shapes, written as SVG and as PDF."""

from aisys.report.figure.drawing import Drawing
from aisys.report.figure.figures import FIGURES, figure_files
from aisys.report.figure.pdf import pdf
from aisys.report.figure.svg import svg
from aisys.report.figure.write import check_figure, write_figure

__all__ = ["FIGURES", "Drawing", "check_figure", "figure_files", "pdf", "svg", "write_figure"]
