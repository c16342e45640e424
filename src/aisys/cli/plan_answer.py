"""The answer of `aisys plan`: searched, written to a folder, shown."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from aisys.cli.output import console, emit_json
from aisys.cli.plan_request import Request, advice, answer, with_launch
from aisys.cli.progress import progress_bar
from aisys.errors import DoesNotFit
from aisys.machine import machine
from aisys.plan.launch import Launch, read_launch, write_launch
from aisys.report import Frontier
from aisys.report.store import document
from aisys.search import Watch
from aisys.search.advise import Advice
from aisys.search.store import Store

FOLDER, STORE = Path("aisys-out"), "search.sqlite"
STOPPED = 130
"""Exit code after Ctrl-C. Source: the convention of shells, 128 + SIGINT."""

MOST_CHANGES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to do with the answer. launch: arguments of an existing training that it is compared with."""

    out: Path | None
    has_files: bool
    is_json: bool
    can_resume: bool
    launch: str

    def folder(self, request: Request) -> Path | None:
        """Where files go; None where none are wanted."""
        if not self.has_files or (self.is_json and self.out is None):
            return None
        return self.out or FOLDER / "-".join((_plain(request.workload), _plain(request.machine), request.goal))


def _plain(name: str) -> str:
    """A workload's or machine's name as part of a folder's name; of a file, its own name or its folder's."""
    path = Path(name)
    if path.suffix in (".json", ".toml"):
        name = path.resolve().parent.name if path.stem == "config" else path.stem
    kept = "".join(c if c.isalnum() or c in "._-" else "x" if c == "*" else "-" for c in Path(name).name)
    return kept[:60] or "workload"


def give(request: Request, wanted: Wanted) -> None:
    """Answer `request`: print the best plans and write the files of the best one. Raises DoesNotFit for none."""
    launch = _launch(wanted.launch)
    request = with_launch(request, launch) if launch else request
    folder = wanted.folder(request)
    try:
        with _watch(wanted, folder) as watch:
            found = answer(request, watch)
    except DoesNotFit as error:
        if wanted.is_json:
            empty = {"workload": request.workload, "machine": request.machine, "goal": request.goal, "plans": []}
            emit_json({**empty, "binding_constraint": str(error)})
        raise
    advised = advice(request, launch) if launch else None
    if folder:
        _write(found, request, folder)
    if wanted.is_json:
        emit_json(document(found, request.top) | (_advice_document(advised) if advised else {}))
    else:
        _show(found, request.top, folder)
        if launch and advised:
            _show_advice(launch, advised)


def _launch(source: str) -> Launch | None:
    if not source:
        return None
    from aisys.cli.launch_text import launch_text

    return read_launch(launch_text(source))


@contextmanager
def _watch(wanted: Wanted, folder: Path | None) -> Iterator[Watch]:
    """What a search reports to: a progress bar, and a file of results that a stopped search leaves behind.

    Raises typer.Exit where the user stops the search.
    """
    kept = (folder or FOLDER) / STORE if folder or wanted.can_resume else None
    if kept and not wanted.can_resume:
        _remove(kept)
    try:
        with progress_bar("evaluating plans", is_shown=not wanted.is_json) as progress:
            yield Watch(progress=progress, store=Store(kept) if kept else None)
    except KeyboardInterrupt:
        found = f"what was found is in {kept}; add --resume to go on" if kept else "nothing is kept without files"
        sys.stderr.write(f"aisys: stopped; {found}\n")
        raise typer.Exit(STOPPED) from None
    except BaseException:
        _remove(kept)
        raise
    _remove(kept)


def _remove(kept: Path | None) -> None:
    """Delete a file of results, and its folder where that holds nothing else."""
    if kept is None:
        return
    with suppress(OSError):
        kept.unlink(missing_ok=True)
        kept.parent.rmdir()


def _write(found: Frontier, request: Request, folder: Path) -> None:
    from aisys.report.folder import save

    save(found, machine(request.machine, num_devices=request.devices), folder)


def _show(found: Frontier, top: int, folder: Path | None) -> None:
    from aisys.report.folder import PAGE, TRACE
    from aisys.report.terminal import renderables

    out = console()
    for renderable in renderables(found, num_plans=top, width=out.width):
        out.print(renderable)
    if folder:
        out.print(f"\n[dim]Page:[/] {folder / PAGE}\n[dim]Trace for ui.perfetto.dev:[/] {folder / TRACE}")


def _show_advice(launch: Launch, advised: Advice) -> None:
    from rich.text import Text

    from aisys.report.words import advice_sentence, change_lines

    out = console()
    out.print(Text(f"\n{advice_sentence(advised.now, advised.best)}", style="bold"))
    for line in change_lines(advised.now, advised.changes[:MOST_CHANGES]):
        out.print(Text(f"  {line}"))
    if advised.best.time_s < advised.now.time_s or advised.now.reason:
        out.print(Text("Arguments of the best plan:", style="dim"))
        out.print(Text(f"  {write_launch(advised.best.plan, launch.program)}"))
    if launch.ignored:
        out.print(Text(f"Not read: {' '.join(launch.ignored)}", style="dim"))


def _advice_document(advised: Advice) -> dict[str, Any]:
    changes = [{"change": change, "time_s": time_s} for change, time_s in advised.changes]
    now = advised.now.as_dict() | {"reason": advised.now.reason}
    return {"from": {"now": now, "best": advised.best.as_dict(), "changes": changes}}
