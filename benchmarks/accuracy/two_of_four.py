"""2:4 weights on an A100: speed-ups and sizes beside what the authors of torchao measured."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from fit_two_of_four import best_share, is_fitted, predicted
from fitting import tables_folder

from aisys.validate.table import read_table

HEAD = """## 2:4 weights

A100-80GB, `aisys validate sparse24_a100.csv`: speed-up over the dense row of the same workload, and GB of a model. One
constant is fitted (`python scripts/fit_two_of_four.py`): the share of results, which come transposed, that is copied
into rows. Of SAM only the products of the image encoder are priced; the rest of its measured dense time stays.

| row | sees the fit | ours | measured | error % | without the constant % |
|---|---|---|---|---|---|"""
WHY = """
The largest gain on square products follows from the dense kernels' constants: activations come whole through the port
of each multiprocessor, and blocks start and end as before. SAM loses with sparse attention what we say it wins: its
projections feed windows and heads, whose copies are not in the model, and its int8 row misses as much without any
zeros. Llama decodes with kernels (tinygemm, sparse Marlin, compiled products of a vector) other than those that the
constants were fitted on. Skipped: accuracies, peaks of memory, activations pruned in every step, and a training step
whose tokens are not described."""


def section() -> str:
    """The figures as markdown."""
    table = read_table(tables_folder() / "sparse24_a100.csv")
    found, without, fitted = predicted(table, best_share(table)), predicted(table, 0.0), is_fitted(table)
    lines = [HEAD]
    for row in np.flatnonzero(np.isfinite(found.predicted)):
        unit = " GB" if table.texts("metric")[row] == "model GB" else "x"
        measured = found.measured[row]
        error, before = (100 * (one.predicted[row] / measured - 1) for one in (found, without))
        lines.append(
            f"| {table.texts('workload')[row]}, {table.texts('config')[row]} | {'yes' if fitted[row] else 'no'} "
            f"| {found.predicted[row]:.2f}{unit} | {measured:.2f}{unit} | {error:+.1f} | {before:+.1f} |"
        )
    return "\n".join([*lines, WHY])
