"""The program `aisys`: its commands, and how it ends (0: done, 1: the answer is no, 2: bad input)."""

import os
import sys
from io import TextIOWrapper

import typer

from aisys.cli.diff import diff
from aisys.cli.explain import explain
from aisys.cli.listing import list_
from aisys.cli.new import new
from aisys.cli.op import op
from aisys.cli.plan import plan
from aisys.cli.run import run
from aisys.cli.show import show
from aisys.cli.study import study
from aisys.cli.validate import validate

HELP = """Plan models on machines that you do not own: time, energy, memory and price, with sources and intervals.

Start with `aisys plan llama-3.1-8b --on dgx-h100 --for train`, or see what there is with `aisys list machines`.
Every command takes `--json` (one JSON document on stdout) and has examples under `aisys COMMAND --help`."""

BAD_INPUT, STOPPED = 2, 130
_USAGE: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
"""The root of errors about a command's words; Typer does not export it."""

app = typer.Typer(
    name="aisys", help=HELP, pretty_exceptions_enable=False, rich_markup_mode="markdown",
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


app.command("plan")(plan)
app.command("op")(op)
app.command("explain")(explain)
app.command("diff")(diff)
app.command("validate")(validate)
app.command("run")(run)
app.command("study")(study)
app.command("show")(show)
app.command("list")(list_)
app.command("new")(new)


def main() -> None:
    """Run one command. What a user can cause ends as one sentence on stderr and an exit code."""
    from aisys.errors import AisysError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        code = app(args=sys.argv[1:] or ["--help"], prog_name="aisys", standalone_mode=False)
        sys.stdout.flush()
    except AisysError as error:
        sys.stderr.write(f"aisys: {' '.join(str(error).split())}\n")
        code = error.exit_code
    except _USAGE as error:
        sys.stderr.write(f"aisys: {_usage(error)}\n")
        code = BAD_INPUT
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("aisys: stopped\n")
        code = STOPPED
    raise SystemExit(code if isinstance(code, int) else 0)


def _usage(error: Exception) -> str:
    """What is wrong with the words of a command, and where to look."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "aisys"
    message = str(getattr(error, "format_message", error.__str__)()).strip().rstrip(".")
    return f"{message}; see {command} --help".replace("\n", " ")
