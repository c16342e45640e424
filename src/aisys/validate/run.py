"""Predicted beside measured: a table in, its error summary out."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args

from aisys.cost import Tier
from aisys.errors import BadInput, unknown_name
from aisys.validate.calibration import Calibration, read_calibration
from aisys.validate.prediction import Options, Predict, Prediction
from aisys.validate.summary import Result, summarise
from aisys.validate.table import Table, read_table


def run(
    path: str | Path,
    tier: Tier = "analytic",
    *,
    constants: Literal["fitted", "transfer"] = "fitted",
    calibration: Sequence[str | Path] = (),
) -> Result:
    """The error summary of the table at `path`, predicted by the plug-in that its `# table:` line names.

    constants: see Options. calibration: tables that the calibrated tier learns from. Raises BadInput for a malformed
    table, UnknownName for a kind of table, a tier or a choice of constants that is not known.
    """
    if tier not in get_args(Tier):
        raise unknown_name("tier", tier, get_args(Tier))
    if constants not in ("fitted", "transfer"):
        raise unknown_name("choice of constants", constants, ("fitted", "transfer"))
    table = read_table(path)
    options = Options(constants=constants, calibration=teacher(table, tier, [Path(one) for one in calibration]))
    return summarise(table, predict(table, tier=tier, options=options), tier=tier)


def teacher(table: Table, tier: Tier, calibration: Sequence[Path]) -> Calibration | None:
    """What the tables at `calibration` teach a prediction of `table`; None where there are none.

    Raises BadInput for another tier than the calibrated one, and for `table` itself among them.
    """
    if not calibration:
        return None
    if tier != "calibrated":
        raise BadInput(f"tier {tier} learns from no table; choose tier calibrated, or give no table to learn from")
    if any(one.exists() and one.samefile(table.path) for one in calibration):
        raise BadInput(f"{table.path}: a table cannot test what it has taught; keep some of its rows in another file")
    return read_calibration(calibration)


def predict(table: Table, *, tier: Tier = "analytic", options: Options | None = None) -> Prediction:
    """What the plug-in of the table's kind predicts, row for row. Raises UnknownName where there is none."""
    names = kinds()
    if table.kind not in names:
        raise unknown_name(f"kind of table in {table.path.name}", table.kind, names)
    plug_in: Any = import_module(f"aisys.validate.{table.kind}")
    found: Predict = plug_in.predict
    return found(table, tier=tier, options=options or Options())


def kinds() -> tuple[str, ...]:
    """The kinds of table that can be predicted: the stems of this folder's files that define `predict`."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return tuple(f.stem for f in files if f != Path(__file__) and "\ndef predict(" in f.read_text(encoding="utf-8"))
