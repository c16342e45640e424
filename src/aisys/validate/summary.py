"""Error summaries of a prediction, and how well it ranks the alternatives of one choice."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.errors import BadInput
from aisys.frozen import FrozenMap
from aisys.validate.prediction import Compared, Prediction
from aisys.validate.table import Table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TIE_RATIO = 1.05
"""Two times are a tie where the larger is at most this multiple of the smaller."""

MIN_ALTERNATIVES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Relative errors of some rows: ape = |predicted - measured| / measured, bias = mean of the signed error.

    interval_coverage: share of the rows with an interval whose measurement lies in it; interval_width: mean of
    (high - low) / predicted over them. None where there is no such row.
    """

    rows: int
    mape: float | None
    median_ape: float | None
    p90_ape: float | None
    bias: float | None
    interval_coverage: float | None
    interval_width: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """How well one group of alternatives is ranked.

    tau: Kendall's tau-b, None where all measurements tie. regret: measured time of the pick over the best, minus 1.
    """

    group: str
    rows: int
    tau: float | None
    regret: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The summary of one table. kind: its evidence (measured, ...). exact: rows equal in every compared column.

    skipped: (row, reason), rows counted from 1 as in the file. others: further compared columns.
    """

    table: str
    kind: str
    tier: str
    errors: Errors
    exact: int
    skipped: tuple[tuple[int, str], ...]
    per_group: FrozenMap[str, Errors]
    others: FrozenMap[str, Errors]
    ranking: tuple[Ranking, ...] | None

    def as_dict(self) -> dict[str, Any]:
        """The document that `aisys validate --json` prints."""
        out: dict[str, Any] = {"table": self.table, "kind": self.kind, "tier": self.tier}
        out |= {"rows": self.errors.rows, "exact": self.exact}
        out["skipped"] = [{"row": row, "reason": reason} for row, reason in self.skipped]
        out |= {name: value for name, value in asdict(self.errors).items() if name != "rows"}
        out["per_group"] = {group: asdict(errors) for group, errors in self.per_group.items()}
        if self.others:
            out["others"] = {column: asdict(errors) for column, errors in self.others.items()}
        if self.ranking is not None:
            out["ranking"] = [asdict(ranking) for ranking in self.ranking]
        return out


def summarise(table: Table, prediction: Prediction, *, tier: str) -> Result:
    """The Result of `prediction` for `table`. Raises BadInput where it has not one value per row."""
    if len(prediction.predicted) != len(table):
        raise BadInput(f"{table.kind}: {len(prediction.predicted)} predictions for {len(table)} rows; give one each")
    rows = np.setdiff1d(np.arange(len(table)), [row for row, _ in prediction.skipped]).astype(np.int64)
    groups = _groups(table, rows, prediction.group_columns)
    ranking = tuple(_rankings(table, prediction, rows)) if prediction.ranking_columns else None
    return Result(
        table=table.kind, kind=table.evidence, tier=tier, errors=errors(prediction, rows),
        exact=_num_exact(prediction, rows),
        skipped=tuple((table.rows[row], reason) for row, reason in prediction.skipped),
        per_group=FrozenMap({group: errors(prediction, chosen) for group, chosen in groups.items()}),
        others=FrozenMap({name: errors(one, _known(one, rows)) for name, one in prediction.others.items()}),
        ranking=ranking,
    )  # fmt: skip


def errors(compared: Compared, rows: Ints) -> Errors:
    """The Errors of the chosen rows."""
    if not len(rows):
        nothing = dict.fromkeys(("mape", "median_ape", "p90_ape", "bias", "interval_coverage", "interval_width"))
        return Errors(rows=0, **nothing)
    predicted, measured = compared.predicted[rows], compared.measured[rows]
    signed = (predicted - measured) / measured
    ape = np.abs(signed)
    low, high = compared.low[rows], compared.high[rows]
    has = np.isfinite(low) & np.isfinite(high)
    covered = (low <= measured) & (measured <= high)
    return Errors(
        rows=len(rows),
        mape=float(ape.mean()),
        median_ape=float(np.median(ape)),
        p90_ape=float(np.quantile(ape, 0.9)),
        bias=float(signed.mean()),
        interval_coverage=float(covered[has].mean()) if has.any() else None,
        interval_width=float(((high - low) / predicted)[has].mean()) if has.any() else None,
    )


def kendall_tau_b(predicted: Floats, measured: Floats) -> float | None:
    """Kendall's tau-b between two rankings in which values within TIE_RATIO of each other tie.

    Over all pairs of rows: (concordant - discordant) / sqrt(pairs not tied in predicted x pairs not tied in
    measured). Ties are judged in each column by its own values, so that a perfect prediction has tau 1. None where
    every pair ties in measured; 0 where that is so in predicted alone. Source: Kendall 1945.

    >>> kendall_tau_b(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0]))
    0.3333333333333333
    """
    first, second = np.triu_indices(len(measured), k=1)
    ours = _order(predicted, first, second)
    theirs = _order(measured, first, second)
    if not theirs.any():
        return None
    weight = sqrt(float(np.count_nonzero(ours)) * float(np.count_nonzero(theirs)))
    return float((ours * theirs).sum()) / weight if weight else 0.0


def regret(predicted: Floats, measured: Floats) -> float:
    """How much slower the row of lowest prediction is than the fastest row: 0.02 is 2 %.

    Among rows of equal lowest prediction the slowest counts.

    >>> regret(np.array([1.0, 1.1]), np.array([3.0, 2.0]))
    0.5
    """
    picked = measured[predicted == predicted.min()].max()
    return float(picked / measured.min() - 1)


def _order(values: Floats, first: Ints, second: Ints) -> Ints:
    """Per pair: 1 where the first is larger, -1 where the second is, 0 for a tie."""
    a, b = values[first], values[second]
    is_tie = np.maximum(a, b) <= TIE_RATIO * np.minimum(a, b)
    return np.where(is_tie, 0, np.sign(a - b)).astype(np.int64)


def _groups(table: Table, rows: Ints, columns: Sequence[str]) -> dict[str, Ints]:
    found: dict[str, list[int]] = defaultdict(list)
    for column in columns:
        values = table.texts(column)
        for row in rows:
            found[f"{column}={values[row]}"].append(row)
    return {group: np.array(chosen, np.int64) for group, chosen in found.items()}


def _rankings(table: Table, prediction: Prediction, rows: Ints) -> Iterator[Ranking]:
    alternatives: dict[str, list[int]] = defaultdict(list)
    cells = {column: table.texts(column) for column in prediction.ranking_columns}
    for row in rows:
        alternatives[" ".join(f"{column}={values[row]}" for column, values in cells.items() if values[row])].append(row)
    for group, chosen in alternatives.items():
        if len(chosen) < MIN_ALTERNATIVES:
            continue
        predicted, measured = prediction.predicted[chosen], prediction.measured[chosen]
        tau = kendall_tau_b(predicted, measured)
        yield Ranking(group=group, rows=len(chosen), tau=tau, regret=regret(predicted, measured))


def _known(compared: Compared, rows: Ints) -> Ints:
    return rows[np.isfinite(compared.predicted[rows]) & np.isfinite(compared.measured[rows])]


def _num_exact(prediction: Prediction, rows: Ints) -> int:
    is_equal = prediction.predicted == prediction.measured
    for other in prediction.others.values():
        is_equal &= (other.predicted == other.measured) | ~np.isfinite(other.measured)
    return int(np.count_nonzero(is_equal[rows]))
