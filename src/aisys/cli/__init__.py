"""The command line: each command parses its words, calls the public functions, and shows what they give."""

from aisys.cli.app import main

__all__ = ["main"]
