"""`aisys new` starts an idea, refuses what cannot be, and overwrites nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_person_is_told_what_was_written_and_what_comes_next(aisys: Callable[..., object]) -> None:
    ended = aisys("new", "technique", "my_idea")
    assert ended.code == 0
    assert "wrote my_idea/pyproject.toml" in ended.out
    assert "cd my_idea && pip install -e . && pytest && python study_my_idea.py" in ended.out
    assert Path("my_idea/my_idea.py").exists()


def test_a_program_gets_one_document(aisys: Callable[..., object], tmp_path: Path) -> None:
    document = json.loads(aisys("new", "schedule", "my_order", "--in", str(tmp_path), "--json").out)
    assert (document["kind"], document["name"]) == ("schedule", "my_order")
    assert [Path(file).name for file in document["files"]] == [
        "pyproject.toml", "my_order.py", "test_my_order.py", "study_my_order.py",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("techniqe", "my_idea"), "unknown kind of plug-in 'techniqe'; nearest known: technique"),
        (("technique", "My-Idea"), "is no name for a module"),
        (("technique", "recompute"), "there is a technique 'recompute' already"),
        (("technique", "my_idea", "--in", "absent"), "cannot be written"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    aisys: Callable[..., object], words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    ended = aisys("new", *words)
    assert ended.code == 2
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_second_time_is_refused(aisys: Callable[..., object]) -> None:
    assert aisys("new", "technique", "my_idea").code == 0
    Path("my_idea/my_idea.py").write_text("mine")
    assert aisys("new", "technique", "my_idea").code == 2
    assert Path("my_idea/my_idea.py").read_text() == "mine"
