"""Every hardware number says where it comes from."""

import tomllib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from aisys.machine import list_devices, list_machines, load
from aisys.machine.catalogue import FOLDER
from aisys.units import Sourced

FILES = sorted(FOLDER.rglob("*.toml"))
KINDS = {"datasheet", "measured", "fitted", "assumed"}


def numbers(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for one in value.values():
            yield from numbers(one)
    elif isinstance(value, list):
        for one in value:
            yield from numbers(one)
    elif not isinstance(value, str):
        yield value


def fields_of(value: object) -> Iterator[tuple[str, object]]:
    """Every leaf of a noun, with its path."""
    if is_dataclass(value):
        for field in fields(value):
            yield from ((f"{field.name}.{path}", leaf) for path, leaf in fields_of(getattr(value, field.name)))
    elif hasattr(value, "items"):
        for name, one in value.items():
            yield from ((f"{name}.{path}", leaf) for path, leaf in fields_of(one))
    elif isinstance(value, tuple):
        for one in value:
            yield from fields_of(one)
    else:
        yield "", value


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_catalogue_file_has_no_number_outside_its_sourced_groups(path: Path) -> None:
    document = tomllib.loads(path.read_text())
    groups = document.pop("facts", [])
    assert list(numbers(document)) == []
    for group in groups:
        assert group.pop("source").strip(), f"{path.name}: empty source"
        assert group.pop("kind") in KINDS, f"{path.name}: unknown kind"
        for value in numbers(group):
            assert type(value) in (int, float), f"{path.name}: {value!r}"


@pytest.mark.parametrize("name", [*list_machines(), *list_devices()])
def test_every_number_of_a_machine_has_source_kind_and_key(name: str) -> None:
    machine = load.machine(name)
    found = 0
    for path, leaf in fields_of(machine):
        if isinstance(leaf, Sourced):
            found += 1
            assert leaf.source.strip(), f"{name}: {path} has no source"
            assert leaf.kind in KINDS, f"{name}: {path} has no kind"
            assert leaf.key, f"{name}: {path} has no key"
        else:
            assert isinstance(leaf, (str, type(None))) or path.split(".")[0] == "mesh", (
                f"{name}: {path} is a bare number"
            )
    assert found > 10


def test_a_number_that_is_assumed_or_fitted_never_claims_a_data_sheet() -> None:
    for path in FILES:
        for group in tomllib.loads(path.read_text()).get("facts", []):
            if group["source"].startswith("assumed"):
                assert group["kind"] == "assumed", f"{path.name}: {group['source']}"
            if path.parent.name == "generation" and path.name.endswith(".transfer.toml"):
                assert group["kind"] in ("fitted", "assumed", "datasheet"), path.name
