"""Fits how often results of 2:4 products are copied into rows, on measured/sparse24_a100.csv, one constant.

    AISYS_TABLES=FOLDER python scripts/fit_two_of_four.py

Fitted on two rows, one of training (the MLP of ViT-L) and one of inference (SAM with 2:4 in its MLPs); every other row
of the table is unseen. Written for sm80; later generations take the same share, as the library is the same.
"""

import numpy as np
from fitting import tables_folder, write
from scipy.optimize import minimize_scalar

from aisys.cost.gpu.matmul import RESULT_PASSES
from aisys.cost.gpu.stack import with_constants
from aisys.machine import Device
from aisys.units import Sourced
from aisys.validate import sparse24
from aisys.validate.prediction import Options, Prediction
from aisys.validate.table import Table, read_table

FITTED = (("SAM ViT-h bs32 bf16", "2:4 mlp only"), ("ViT-L MLP fwd+bwd f16 (44160;1024;4096;1024)", "w24"))
LATER = ("sm86", "sm89", "sm90", "sm100", "sm120")


class Passes:
    """The devices of a prediction with a share of results that are copied."""

    def __init__(self, share: float) -> None:
        self.share = share

    def device(self, device: Device) -> Device:
        """`device` with that share."""
        value = Sourced(self.share, source="being fitted", kind="fitted", key=RESULT_PASSES)
        return with_constants(device, {RESULT_PASSES: value})

    def links(self, links):  # type: ignore[no-untyped-def]
        """As they are."""
        return links


def predicted(table: Table, share: float) -> Prediction:
    """The speed-ups of a table with that share."""
    return sparse24.predict(table, tier="analytic", options=Options(calibration=Passes(share)))


def is_fitted(table: Table) -> np.ndarray:
    """The rows that the fit sees."""
    names = zip(table.texts("workload"), table.texts("config"), table.texts("metric"), strict=True)
    return np.array([(str(w), str(c)) in FITTED and metric != "mIoU" for w, c, metric in names])


def best_share(table: Table) -> float:
    """The share of least squared log error on the fitted rows."""
    rows = is_fitted(table)

    def loss(share: float) -> float:
        found = predicted(table, share)
        return float((np.log(found.predicted[rows] / found.measured[rows]) ** 2).sum())

    return float(minimize_scalar(loss, bounds=(0.0, 1.0), method="bounded").x)


def main() -> None:
    """Fits, prints every row, and writes the catalogue files."""
    table = read_table(tables_folder() / "sparse24_a100.csv")
    share, rows = best_share(table), is_fitted(table)
    found, without = predicted(table, share), predicted(table, 0.0)
    print(f"results that are copied: {share:.3f}")
    for row in np.flatnonzero(np.isfinite(found.predicted)):
        what = f"{table.texts('workload')[row]}, {table.texts('config')[row]}, {table.texts('metric')[row]}"
        error, before = (100 * (one.predicted[row] / one.measured[row] - 1) for one in (found, without))
        print(f"{'fitted' if rows[row] else 'unseen'}  {error:+6.1f} %  (without copies {before:+6.1f} %)  {what}")
    source = "scripts/fit_two_of_four.py on sparse24_a100.csv (A100-80GB)"
    write("sm80.two_of_four", [(source, "fitted", {RESULT_PASSES: share})])
    for name in LATER:
        write(f"{name}.two_of_four", [("sm80's share: the library is the same", "assumed", {RESULT_PASSES: share})])


if __name__ == "__main__":
    main()
