"""Whole applications on the first TPU, from a table of their sizes."""

import os
from pathlib import Path

from aisys.validate.run import run

HEAD = """## The first TPU

Tera-operations per second of whole applications, from layers, weights and operations per weight alone: each layer is
taken as a square matrix of the mean size, in whole tiles of 256 x 256, whose weights load while the tile before is at
work. The machine file is the data sheet's and no constant is fitted, but the rule was written with these rows in view.
Must: 20 %.

| application | error % |
|---|---|"""
NOTES = """
Layers of very different sizes, which such a table does not state, would be predicted worse. Cycles in which nothing
multiplies for other reasons (17 to 22 % of all in the table) are not modelled."""


def section() -> str:
    """The section of docs/accuracy.md."""
    found = run(Path(os.environ["AISYS_TABLES"]) / "measured" / "tpu_v1.csv")
    lines = [HEAD]
    lines += [
        f"| {group.removeprefix('app=')} | {100 * (errors.bias or 0.0):+.1f} |"
        for group, errors in found.per_group.items()
    ]
    return "\n".join([*lines, NOTES])
