"""The contract of a workload reader."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

from aisys.errors import InvalidGraph
from aisys.ir import Graph, Role, Segment, load, save, verify
from aisys.testing.contract import ContractBroken, require


def check_workload(read: Callable[..., Graph], source: str = "", *, tokens: int | None = None) -> None:
    """Raises ContractBroken unless `read(source, batch=..., tokens=...)` gives sound graphs.

    They pass `ir.verify`; two calls give the same digest; the batch changes no parameter; a saved graph loads back to
    the same digest and text; splitting a segment changes neither digest nor flop, parameters or bytes of any role.
    """
    graph = _read(read, source, 1, tokens)
    again = _read(read, source, 1, tokens)
    require(graph.digest == again.digest, f"{graph.name}: two calls give digests {graph.digest} and {again.digest}")
    doubled = _read(read, source, 2, tokens)
    require(
        doubled.num_parameters == graph.num_parameters,
        f"{graph.name}: batch 2 has {doubled.num_parameters:,} parameters, batch 1 has {graph.num_parameters:,}",
    )
    for one in (graph, doubled):
        _check_store(one)
        for split in _splits(one):
            _check_same(one, split)


def _read(read: Callable[..., Graph], source: str, batch: int, tokens: int | None) -> Graph:
    graph = read(source, batch=batch, tokens=tokens)
    require(isinstance(graph, Graph), f"read gives a {type(graph).__name__}; give a Graph")
    try:
        return verify(graph)
    except InvalidGraph as error:
        raise ContractBroken(f"{graph.name}: {error}") from None


def _check_store(graph: Graph) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "graph.json"
        save(graph, path)
        loaded = load(path)
    require(loaded.digest == graph.digest, f"{graph.name}: loads back with digest {loaded.digest}, not {graph.digest}")
    require(str(loaded) == str(graph), f"{graph.name}: prints otherwise after it was saved and loaded")


def _splits(graph: Graph) -> Iterator[Graph]:
    """The graph with each segment that repeats cut in two, at its start and in its middle."""
    for place, segment in enumerate(graph.segments):
        for first in {1, segment.repeat // 2}:
            if 0 < first < segment.repeat:
                parts = (Segment(segment.block, first), Segment(segment.block, segment.repeat - first))
                yield replace(graph, segments=(*graph.segments[:place], *parts, *graph.segments[place + 1 :]))


def _check_same(graph: Graph, split: Graph) -> None:
    for what in ("digest", "flop", "num_parameters", "layers"):
        before, after = getattr(graph, what), getattr(split, what)
        require(before == after, f"{graph.name}: splitting a segment changes {what}, from {before} to {after}")
    for role in get_args(Role):
        before, after = graph.num_bytes(role), split.num_bytes(role)
        require(before == after, f"{graph.name}: splitting a segment changes bytes of {role}, from {before} to {after}")
