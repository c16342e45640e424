"""One figure as one file."""

from collections.abc import Callable, Mapping
from pathlib import Path

from aisys.errors import BadInput
from aisys.report.figure.drawing import Drawing
from aisys.report.figure.pdf import pdf
from aisys.report.figure.svg import svg
from aisys.report.files import write_files

FORMS: Mapping[str, Callable[[Drawing], str | bytes]] = {".svg": svg, ".pdf": pdf}


def check_figure(path: Path) -> None:
    """Raises BadInput for a name that ends in neither .svg nor .pdf: said before the work, not after it."""
    if path.suffix.lower() not in FORMS:
        raise BadInput(f"--figure {path}: figures are written as {' or '.join(FORMS)}; end the name with one of them")


def write_figure(path: Path, drawing: Drawing) -> None:
    """Write the drawing whole or not at all, in the form that the end of the name says. Raises BadInput."""
    check_figure(path)
    form = FORMS[path.suffix.lower()]
    write_files(path.parent, {path.name: form(drawing)}, option="--figure")
