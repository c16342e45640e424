"""A progress bar on stderr for work that takes longer than a second."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

PATIENCE_S = 1.0


@contextmanager
def progress_bar(what: str, *, is_shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A function `progress(done, total)` that draws a bar once the work has taken PATIENCE_S, and clears it after."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from aisys.cli.output import console

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    screen = console(stderr=True)
    bar = Progress(*columns, console=screen, transient=True)
    task = bar.add_task(what, total=None)
    started = monotonic()
    is_running = False

    def progress(done: int, total: int) -> None:
        nonlocal is_running
        if not is_running and is_shown and screen.is_terminal and monotonic() - started > PATIENCE_S:
            bar.start()
            is_running = True
        bar.update(task, completed=done, total=total)

    try:
        yield progress
    finally:
        if is_running:
            bar.stop()
