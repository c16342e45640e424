"""All forms of an answer as the files of one folder."""

from pathlib import Path

from aisys.machine import Device, Machine
from aisys.report.figure import figure_files
from aisys.report.files import write_files
from aisys.report.page import page
from aisys.report.sources import bibtex, grouped
from aisys.report.store import RUN_FILE, run_text
from aisys.report.tables import ops_csv, plans_csv, plans_latex
from aisys.report.trace import trace_text
from aisys.report.types import Frontier

PAGE, TRACE = "page.html", "trace.json"


def folder_files(frontier: Frontier, device: Device) -> dict[str, str | bytes]:
    """File name to content: the page, the trace, the run, tables, figures and sources of the best plan."""
    best = frontier.reports[0]
    files: dict[str, str | bytes] = {
        PAGE: page(frontier, device), TRACE: trace_text(best), RUN_FILE: run_text(frontier),
        "plans.csv": plans_csv(frontier), "plans.tex": plans_latex(frontier), "ops.csv": ops_csv(best.ops),
        "sources.bib": bibtex(grouped(best.provenance)),
    }  # fmt: skip
    return files | figure_files(frontier, device)


def save(frontier: Frontier, machine: Machine, folder: str | Path) -> tuple[Path, ...]:
    """Write every form of an answer on `machine` into `folder`: the page, the trace, the run, tables, figures, sources.

    Raises BadInput, with nothing half-written, where the folder cannot be written or the answer has no plan.
    """
    return write_files(Path(folder), folder_files(frontier, machine.device))
