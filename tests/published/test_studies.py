"""Every study reproduces what was published."""

import json

import pytest
from typer.testing import CliRunner

from aisys.cli.app import app
from aisys.errors import UnknownName
from aisys.study import list_studies, run
from aisys.study.outcome import Outcome, Row

MISSED = ("dataflow_mirroring",)


@pytest.mark.parametrize("name", [name for name in list_studies() if name not in MISSED])
def test_the_study_reproduces_its_publication(name):
    outcome = run(name)
    assert [row for row in outcome.rows if not row.is_ok] == []
    assert outcome.passed


def test_dataflow_mirroring_gains_less_than_published_and_nothing_for_most_pairs():
    """Of the four networks the published gains are 46.4 % and 34.8 %; what we find instead is held here."""
    found = {row.quantity.removeprefix("STP over equal split: "): row for row in run("dataflow_mirroring").rows}
    assert found["4 networks, 256 x 256, batch 1"].ours == pytest.approx(1.186, abs=1e-3)
    assert found["4 networks, 256 x 256, batch 4"].ours == pytest.approx(1.209, abs=1e-3)
    missed = [name for name, row in found.items() if not row.is_ok]
    assert missed == [
        "4 networks, 256 x 256, batch 1", "4 networks, 256 x 256, batch 4",
        "AlexNet and Transformer, 64 x 64, batch 4", "ResNet-50 and Transformer, 64 x 64, batch 4",
    ]  # fmt: skip


def test_the_layers_of_dataflow_mirroring_are_as_many_as_published():
    from aisys.study.dataflow_mirroring import NETWORKS, network

    assert [sum(segment.repeat for segment in network(name, 1).segments) for name in NETWORKS] == [8, 54, 8, 891]


def test_a_study_with_as_many_parameters_as_unseen_rows_cannot_pass():
    rows = (Row(quantity="q", ours=1.0, published=1.0, tolerance=0.1),)
    assert Outcome(name="s", source="x", rows=rows).passed
    assert not Outcome(name="s", source="x", rows=rows, free_parameters=1).passed


def test_a_quantity_outside_its_tolerance_fails_the_study():
    rows = tuple(Row(quantity="q", ours=ours, published=1.0, tolerance=0.1) for ours in (1.0, 1.11))
    assert not Outcome(name="s", source="x", rows=rows).passed


def test_the_command_prints_one_document_or_a_table():
    done = CliRunner().invoke(app, ["study", "korthikanti2022", "--json"])
    document = json.loads(done.stdout)
    assert done.exit_code == 0
    assert document["passed"]
    wanted = {"quantity", "ours", "published", "ratio", "tolerance", "ok", "used_for_calibration"}
    assert set(document["rows"][0]) == wanted
    assert "reproduced: 0 free parameters" in CliRunner().invoke(app, ["study", "korthikanti2022"]).stdout


def test_an_unknown_study_is_answered_with_the_nearest():
    with pytest.raises(UnknownName, match="korthikanti2022"):
        run("korthikanti")
