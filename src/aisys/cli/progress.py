"""A progress bar on stderr for work that takes longer than a second."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer

PATIENCE_S = 1.0


@contextmanager
def progress_bar(what: str, *, is_shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A function `progress(done, total)`; its bar shows once the work has taken PATIENCE_S, and is cleared after.

    Work that never calls it shows that it goes on. Nothing shows where stderr is no terminal.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from aisys.cli.output import console

    screen = console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=screen, transient=True)
    task = bar.add_task(what, total=None)
    starter = Timer(PATIENCE_S, bar.start)
    starter.daemon = True
    if is_shown and screen.is_terminal:
        starter.start()
    try:
        yield lambda done, total: bar.update(task, completed=done, total=total)
    finally:
        starter.cancel()
        if starter.is_alive():
            starter.join()
        if bar.live.is_started:
            bar.stop()
