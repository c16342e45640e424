"""The program `aisys`: its commands, and how it ends (0: done, 1: the answer is no, 2: bad input)."""

import sys

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

app = typer.Typer(
    name="aisys", help=HELP, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"aisys {version('aisys')}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Options that stand before the command."""


app.callback(help=HELP)(_root)
app.command("plan")(plan)
app.command("op")(op)
app.command("explain")(explain)
app.command("diff")(diff)
app.command("validate")(validate)
app.command("run")(run)
app.command("study")(study)
app.command("show")(show)
app.command("study")(study)
app.command("list")(list_)
app.command("new")(new)


def main() -> None:
    """Run one command. An AisysError becomes one sentence on stderr and its exit code."""
    from aisys.errors import AisysError

    try:
        app()
    except AisysError as error:
        sys.stderr.write(f"aisys: {error}\n")
        raise SystemExit(error.exit_code) from None
