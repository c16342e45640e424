"""Plug-ins are found by their names, wherever they come from; what is wrong with one is said in a sentence."""

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest

import aisys
from aisys import plugins
from aisys.errors import BadInput, CannotApply, UnknownName, Unsupported


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Entry points are read once per process; here they change between tests."""
    yield
    plugins._outside.cache_clear()
    plugins.find.cache_clear()


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, kind: str, name: str, text: str) -> None:
    """An outside package with one module `name` and one entry point, as an installer would leave it."""
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, name, raising=False)
    provide(monkeypatch, kind, [(name, name, f"aisys-{name}")])


def provide(monkeypatch: pytest.MonkeyPatch, kind: str, points: list[tuple[str, str, str]]) -> None:
    found = [with_package(EntryPoint(name, value, f"aisys.{kind}"), package) for name, value, package in points]
    monkeypatch.setattr(plugins, "entry_points", lambda group: found if group == f"aisys.{kind}" else [])
    plugins._outside.cache_clear()
    plugins.find.cache_clear()


def with_package(point: EntryPoint, package: str) -> EntryPoint:
    vars(point)["dist"] = SimpleNamespace(name=package)
    return point


SHRINK = """
class Shrink:
    '''Shrink nothing.'''

    def apply(self, graph):
        return graph
"""


def test_every_technique_has_the_name_of_its_file() -> None:
    for stem in plugins.names("technique"):
        assert plugins.find("technique", stem).__name__.lower() == stem.replace("_", "")


def test_an_outside_technique_is_listed_with_its_package_and_first_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, tmp_path, "technique", "shrink_it", SHRINK)
    assert "shrink_it" in aisys.list_techniques()
    listed = {one.name: one for one in plugins.listed("technique")}
    assert (listed["shrink_it"].package, listed["shrink_it"].summary) == ("aisys-shrink_it", "Shrink nothing.")
    assert listed["recompute"].package == "aisys"
    assert aisys.technique("shrink_it").__name__ == "Shrink"


def test_a_near_name_is_offered() -> None:
    with pytest.raises(UnknownName, match="unknown technique 'recompote'; nearest known: recompute"):
        aisys.technique("recompote")
    with pytest.raises(UnknownName, match="unknown kind of plug-in 'techniques'; nearest known: technique"):
        plugins.names("techniques")


def test_a_name_of_our_own_is_a_clash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path, "technique", "recompute", SHRINK)
    with pytest.raises(BadInput, match=r"technique 'recompute' of package 'aisys-recompute' is named like one of"):
        plugins.names("technique")
    with pytest.raises(BadInput, match="is named like one of"):
        plugins.find("technique", "tensor_parallel")


def test_one_name_in_two_packages_is_a_clash(monkeypatch: pytest.MonkeyPatch) -> None:
    provide(monkeypatch, "schedule", [("mine", "first", "one"), ("mine", "second", "other")])
    with pytest.raises(BadInput, match="schedule 'mine' comes from two packages, 'one' and 'other'"):
        plugins.names("schedule")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import no_such_module", "cannot be loaded: ModuleNotFoundError"),
        ("1/0", "cannot be loaded: ZeroDivisionError"),
        ("x = 1", "has 0 public classes; it needs exactly one"),
        (SHRINK + "\nclass Grow:\n    pass\n", "has 2 public classes; it needs exactly one"),
        ("class Shrink:\n    pass\n", "give a class with a method apply or constrain or rewrite or emulate"),
    ],
)
def test_a_broken_technique_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str) -> None:
    install(monkeypatch, tmp_path, "technique", "broken_idea", text)
    with pytest.raises(BadInput, match=said):
        aisys.technique("broken_idea")


def test_an_entry_point_may_name_the_class_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path, "technique", "several", SHRINK + "\nclass Grow:\n    apply = Shrink.apply\n")
    provide(monkeypatch, "technique", [("grow", "several:Grow", "several")])
    assert aisys.technique("grow").__name__ == "Grow"


def test_a_module_without_the_function_of_its_kind_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, tmp_path, "schedule", "empty_order", "x = 1")
    with pytest.raises(BadInput, match="schedule 'empty_order': give a function order"):
        plugins.find("schedule", "empty_order")


def test_a_plan_may_name_an_outside_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aisys.lower.schedule import schedule

    with pytest.raises(UnknownName, match="unknown schedule of a plan 'oldest_first'"):
        aisys.Plan(schedule="oldest_first")
    text = "def order(stage, num_stages, num_microbatches, interleave):\n    return stage\n"
    install(monkeypatch, tmp_path, "schedule", "oldest_first", text)
    assert aisys.Plan(schedule="oldest_first").schedule == "oldest_first"
    assert schedule("oldest_first")(3, 4, 1, 1) == 3


def test_an_outside_workload_is_read_by_name_and_gets_what_follows_the_colon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "import aisys\ndef read(source, *, batch, tokens):\n"
        "    return aisys.workload.read('gpt2', batch=batch, tokens=tokens, num_layers=int(source or 1))\n"
    )
    install(monkeypatch, tmp_path, "workload", "cut_gpt", text)
    assert len(aisys.read("cut_gpt:3", batch=2, tokens=8).layers) == 5
    assert len(aisys.read("cut_gpt", tokens=8).layers) == 3
    with pytest.raises(BadInput, match="takes batch and tokens only"):
        aisys.read("cut_gpt", cached_tokens=4)


def test_an_outside_workload_may_not_take_a_published_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path, "workload", "gpt2", "def read(source, *, batch, tokens):\n    pass\n")
    with pytest.raises(BadInput, match="is a published name here"):
        aisys.read("gpt2")


def test_an_architecture_without_a_model_is_unsupported_until_a_package_brings_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from aisys.cost import cost
    from aisys.ir import OpTable

    class TinyArray:
        pass

    device = replace(aisys.device("h100-sxm"), architecture=TinyArray())
    table = OpTable.of("stream", read_bytes=1, write_bytes=1, flop=0, rows=1, cols=1, function="copy", dtype="bf16")
    with pytest.raises(Unsupported, match="no cost model 'tiny_array' for a TinyArray; there are "):
        cost(table, device)
    text = "def price(table, device, *, tier):\n    return tier\n"
    install(monkeypatch, tmp_path, "cost", "tiny_array", text)
    assert cost(table, device, tier="limit") == "limit"


def test_a_technique_that_is_refused_says_so_in_its_own_words() -> None:
    with pytest.raises(CannotApply, match="recompute: 'gpt2' saves nothing; apply TrainingStep first"):
        aisys.technique("recompute")().apply(aisys.read("gpt2", tokens=8))
