"""Error summaries are what their definitions say, whatever the numbers."""

from itertools import combinations
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisys.errors import BadInput
from aisys.frozen import FrozenMap
from aisys.validate import Compared, Prediction, Table, kendall_tau_b, no_interval, read_table, regret, summarise

times = st.floats(1e-6, 1e6)
several = st.integers(2, 12).flatmap(lambda n: st.tuples(*[st.lists(times, min_size=n, max_size=n)] * 2))


def slow_tau_b(predicted: list[float], measured: list[float]) -> float | None:
    """Kendall's tau-b by its textbook definition, one pair at a time, with the same rule of ties."""

    def order(a: float, b: float) -> int:
        return 0 if max(a, b) <= 1.05 * min(a, b) else 1 if a > b else -1

    concordant = discordant = only_predicted = only_measured = neither = 0
    for i, j in combinations(range(len(measured)), 2):
        ours, theirs = order(predicted[i], predicted[j]), order(measured[i], measured[j])
        concordant += ours * theirs == 1
        discordant += ours * theirs == -1
        only_predicted += ours == 0 and theirs != 0
        only_measured += theirs == 0 and ours != 0
        neither += ours == 0 and theirs == 0
    decided = concordant + discordant
    if decided + only_predicted == 0:
        return None
    if decided + only_measured == 0:
        return 0.0
    return (concordant - discordant) / sqrt((decided + only_predicted) * (decided + only_measured))


@given(several)
def test_tau_is_the_slow_definition(pair: tuple[list[float], list[float]]) -> None:
    ours, slow = kendall_tau_b(np.array(pair[0]), np.array(pair[1])), slow_tau_b(*pair)
    assert (ours is None) == (slow is None)
    if ours is not None:
        assert ours == pytest.approx(slow, abs=1e-12)


@given(st.lists(times, min_size=2, max_size=12))
def test_a_perfect_prediction_has_tau_one_and_no_regret(measured: list[float]) -> None:
    values = np.array(measured)
    assert kendall_tau_b(values, values) in (1.0, None)
    assert kendall_tau_b(1 / values, values) in (-1.0, None)
    assert regret(values, values) == 0.0


def test_pairs_within_five_percent_tie_and_pairs_beyond_do_not() -> None:
    assert kendall_tau_b(np.array([1.0, 2.0]), np.array([1.0, 1.05])) is None
    assert kendall_tau_b(np.array([1.0, 2.0]), np.array([1.0, 1.0501])) == 1.0
    assert kendall_tau_b(np.array([1.0, 1.05]), np.array([1.0, 2.0])) == 0.0


def test_regret_counts_the_slowest_of_equal_picks() -> None:
    assert regret(np.array([1.0, 1.0, 2.0]), np.array([4.0, 5.0, 4.0])) == 0.25


def table_of(folder: Path, rows: list[str]) -> Table:
    path = folder / "t.csv"
    path.write_text("# table: gemm\n# kind: measured\ndevice,choice,us\n" + "\n".join(rows) + "\n")
    return read_table(path)


def test_a_summary_is_computed_by_hand(tmp_path: Path) -> None:
    table = table_of(tmp_path, ["a,1,10", "a,1,20", "b,1,40", "b,1,50"])
    measured = table.numbers("us")
    predicted = np.array([11.0, 16.0, 40.0, np.nan])
    prediction = Prediction(
        predicted=predicted, measured=measured, low=predicted * 0.95, high=predicted * 1.2,
        skipped=((3, "unknown device"),), group_columns=("device",),
    )  # fmt: skip
    found = summarise(table, prediction, tier="analytic").as_dict()
    assert found["rows"] == 3
    assert found["exact"] == 1
    assert found["skipped"] == [{"row": 4, "reason": "unknown device"}]
    assert found["mape"] == pytest.approx((0.1 + 0.2 + 0) / 3)
    assert found["median_ape"] == pytest.approx(0.1)
    assert found["p90_ape"] == pytest.approx(0.1 + 0.8 * 0.1)
    assert found["bias"] == pytest.approx((0.1 - 0.2) / 3)
    assert found["interval_coverage"] == pytest.approx(1 / 3)
    assert found["interval_width"] == pytest.approx(0.25)
    assert found["per_group"]["device=a"]["mape"] == pytest.approx(0.15)
    assert found["per_group"]["device=b"]["rows"] == 1
    assert "ranking" not in found


def test_rows_without_an_interval_do_not_count_as_covered(tmp_path: Path) -> None:
    table = table_of(tmp_path, ["a,1,10"])
    plain = Prediction(predicted=np.array([10.0]), measured=np.array([10.0]), **no_interval(1))
    assert summarise(table, plain, tier="limit").errors.interval_coverage is None


def test_only_rows_equal_in_every_compared_column_are_exact(tmp_path: Path) -> None:
    table = table_of(tmp_path, ["a,1,10", "a,1,20", "a,1,30"])
    times = table.numbers("us")
    other = Compared(predicted=np.array([1.0, 2.0, 3.0]), measured=np.array([1.0, 9.0, np.nan]), **no_interval(3))
    both = Prediction(predicted=times, measured=times, **no_interval(3), others=FrozenMap(watt=other))
    found = summarise(table, both, tier="analytic").as_dict()
    assert found["exact"] == 2
    assert found["others"]["watt"]["rows"] == 2


def test_alternatives_are_ranked_in_groups_of_three_or_more(tmp_path: Path) -> None:
    table = table_of(tmp_path, ["a,1,10", "a,1,20", "a,1,30", "b,2,10", "b,2,20"])
    predicted = np.array([12.0, 11.0, 40.0, 1.0, 2.0])
    prediction = Prediction(
        predicted=predicted, measured=table.numbers("us"), **no_interval(5), ranking_columns=("device", "choice")
    )
    ranking = summarise(table, prediction, tier="analytic").as_dict()["ranking"]
    assert ranking == [{"group": "device=a choice=1", "rows": 3, "tau": pytest.approx(1 / 3), "regret": 1.0}]


def test_a_table_of_which_nothing_is_predicted_has_no_errors(tmp_path: Path) -> None:
    table = table_of(tmp_path, ["a,1,10"])
    nothing = Prediction(predicted=np.array([np.nan]), measured=np.array([10.0]), **no_interval(1), skipped=((0, "?"),))
    found = summarise(table, nothing, tier="analytic").as_dict()
    assert found["rows"] == 0
    assert found["mape"] is None


def test_a_prediction_that_is_no_number_or_of_another_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="row 1 has predicted nan"):
        Prediction(predicted=np.array([np.nan]), measured=np.array([10.0]), **no_interval(1))
    with pytest.raises(BadInput, match=r"arrays of \[1, 2\] rows"):
        Prediction(predicted=np.ones(2), measured=np.ones(1), **no_interval(2))
    with pytest.raises(BadInput, match="2 predictions for 1 rows"):
        summarise(
            table_of(tmp_path, ["a,1,10"]), Prediction(predicted=np.ones(2), measured=np.ones(2), **no_interval(2)),
            tier="analytic",
        )  # fmt: skip
