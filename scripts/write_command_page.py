"""Writes docs/cli/commands.md: every command with its options, as `--help` says them.

Usage: python scripts/write_command_page.py
"""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from aisys.cli.app import app

TARGET = Path(__file__).parents[1] / "docs" / "cli" / "commands.md"
HEAD = """# Commands

Written by scripts/write_command_page.py from what `aisys COMMAND --help` says; run it, do not edit.
"""


def page() -> str:
    """The page as it should be."""
    group: Any = typer.main.get_command(app)
    parts = [HEAD, *(_command(name, command) for name, command in group.commands.items())]
    return "\n".join(parts).rstrip() + "\n"


def _command(name: str, command: Any) -> str:
    text = inspect.cleandoc(command.help or "").replace("**Examples**", "Examples:")
    lines = [f"## aisys {name}", "", text, "", "| argument | meaning | default |", "|---|---|---|", *_rows(command)]
    return "\n".join([*lines, ""])


def _rows(command: Any) -> Iterator[str]:
    for parameter in command.params:
        if parameter.name == "help":
            continue
        is_option = parameter.param_type_name == "option"
        names = ", ".join(f"`{name}`" for name in parameter.opts) if is_option else f"`{parameter.metavar}`"
        default = "" if parameter.default in (None, "", False, ()) or parameter.required else f"`{parameter.default}`"
        shown = "required" if parameter.required else default
        yield f"| {names} | {(parameter.help or '').replace('|', ' or ')} | {shown} |"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
