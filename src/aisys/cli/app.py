"""The program `aisys`: its commands, and how it ends (0: done, 1: the answer is no, 2: bad input)."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from typing import Any, TextIO

import typer
from typer.core import TyperGroup

from aisys.cli.diff import diff
from aisys.cli.explain import explain
from aisys.cli.listing import list_
from aisys.cli.map import map_
from aisys.cli.new import new
from aisys.cli.op import op
from aisys.cli.plan import plan
from aisys.cli.rtl import rtl
from aisys.cli.run import run
from aisys.cli.share import share
from aisys.cli.show import show
from aisys.cli.study import study
from aisys.cli.validate import validate

HELP = """Plan models on machines that you do not own: time, energy, memory and price, with sources and intervals.

Start with `aisys plan llama-3.1-8b --on dgx-h100 --for train`, or see what there is with `aisys list machines`.
Every command takes `--json` (one JSON document on stdout) and has examples under `aisys COMMAND --help`.

Exit codes: 0 done, 1 the answer is no (nothing fits), 2 bad input, 130 stopped."""

BAD_INPUT, STOPPED = 2, 130
_USAGE: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
"""The root of errors about a command's words; Typer does not export it."""


class _QuickHelp(TyperGroup):
    """The list of commands as plain text: loading a renderer of Markdown for it would take most of the time."""

    def format_help(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]  # click is private
        """Write the list of commands."""
        self.rich_markup_mode = None
        super().format_help(ctx, formatter)


app = typer.Typer(
    name="aisys", help=HELP, cls=_QuickHelp, pretty_exceptions_enable=False, rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"aisys {version('aisys')}")
        raise typer.Exit


@app.callback(help=HELP)
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Options that stand before the command."""


COMMANDS: tuple[tuple[str, Callable[..., object], str], ...] = (
    ("plan", plan, "The best plans of a workload, and what rules out the rest."),
    ("op", op, "One op on one device: time, energy, traffic, bound."),
    ("map", map_, "An einsum as a loop nest on a spatial array."),
    ("explain", explain, "Why an op takes as long: formulas, numbers, sources."),
    ("share", share, "Several networks on one systolic array, cut at best."),
    ("diff", diff, "Which op, link or wait makes two saved runs differ."),
    ("validate", validate, "Predict every row of a table and summarise the errors."),
    ("run", run, "Plan every point of a study that a TOML file describes."),
    ("study", study, "Reproduce a published result, beside the publication."),
    ("rtl", rtl, "A systolic array as a circuit: Verilog, cycles, area, clock."),
    ("show", show, "The graph of a workload: parameters, flop, ops, shapes."),
    ("list", list_, "What there is: machines, workloads, techniques, ..."),
    ("new", new, "Start a plug-in of your own: code, test, study."),
)
"""Name, function, and its line in the list of commands."""

for name, function, line in COMMANDS:
    app.command(name, short_help=line)(function)


def main() -> None:
    """Run one command. What a user can cause ends as one sentence on stderr and an exit code."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started this process
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # open until the end
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    code, sentence = _outcome()
    try:
        sys.stderr.write(f"aisys: {sentence}\n" if sentence else "")
    except OSError:
        _drop(sys.stderr)
    raise SystemExit(code)


def _outcome() -> tuple[int, str]:
    """The exit code of the command in `sys.argv`, and what stderr has to say about it."""
    from aisys.errors import AisysError

    try:
        code = app(args=sys.argv[1:] or ["--help"], prog_name="aisys", standalone_mode=False)
        sys.stdout.flush()
    except AisysError as error:
        return error.exit_code, " ".join(str(error).split())
    except _USAGE as error:
        return BAD_INPUT, _usage(error)
    except (BrokenPipeError, SystemExit):  # whoever read our output has seen enough; Rich exits
        _drop(sys.stdout)
        return 0, ""
    except OSError as error:
        _drop(sys.stdout)
        return BAD_INPUT, f"cannot read or write {error.filename or 'the output'} ({error.strerror or error})"
    except MemoryError:
        return BAD_INPUT, "this needs more memory than there is; ask for less at a time"
    except (KeyboardInterrupt, typer.Abort):
        return STOPPED, "stopped"
    return code if isinstance(code, int) else 0, ""


def _drop(stream: TextIO) -> None:
    """Send what a stream that cannot be written still holds, and all that follows, to nowhere."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _usage(error: Exception) -> str:
    """What is wrong with the words of a command, and where to look."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "aisys"
    message = str(getattr(error, "format_message", error.__str__)()).strip().rstrip(".")
    return f"{message}; see {command} --help".replace("\n", " ")
