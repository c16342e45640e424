"""Workload readers keep their contract, and the kit finds readers that do not."""

from dataclasses import replace
from itertools import count

import pytest

import aisys
from aisys.ir import Graph
from aisys.testing import ContractBroken, check_workload
from aisys.workload import list_workloads, published


@pytest.mark.parametrize("name", list_workloads())
def test_every_published_workload_keeps_the_contract(name: str) -> None:
    sees_images = published(name).config["model_type"] in ("vit", "cnn")
    check_workload(aisys.read, name, tokens=None if sees_images else 64)


def named(source: str, *, batch: int, tokens: int | None) -> Graph:
    return aisys.read("gpt2", batch=batch, tokens=16)


def test_a_reader_that_is_not_repeatable_is_found() -> None:
    calls = count(1)

    def read(source: str, *, batch: int, tokens: int | None) -> Graph:
        return aisys.read("gpt2", batch=batch, tokens=next(calls))

    with pytest.raises(ContractBroken, match="two calls give digests"):
        check_workload(read)


def test_a_reader_whose_batch_changes_the_parameters_is_found() -> None:
    def read(source: str, *, batch: int, tokens: int | None) -> Graph:
        return aisys.read("gpt2", batch=batch, tokens=16, num_layers=batch)

    with pytest.raises(ContractBroken, match="batch 2 has"):
        check_workload(read)


def test_a_reader_of_unsound_graphs_is_found() -> None:
    def read(source: str, *, batch: int, tokens: int | None) -> Graph:
        graph = named(source, batch=batch, tokens=tokens)
        return replace(graph, segments=graph.segments[::-1])

    with pytest.raises(ContractBroken, match="gpt2"):
        check_workload(read)


def test_a_reader_of_something_else_is_found() -> None:
    with pytest.raises(ContractBroken, match="read gives a str; give a Graph"):
        check_workload(lambda source, *, batch, tokens: "graph")
