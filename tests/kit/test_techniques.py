"""Every technique keeps its contract, and the kit finds techniques that do not."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any

import pytest

import aisys
from aisys import plugins
from aisys.errors import CannotApply
from aisys.ir import Graph
from aisys.technique.weight_quantization import WeightQuantization
from aisys.testing import ContractBroken, check_technique

OPTIONS: Mapping[str, dict[str, Any]] = {"weight_quantization": {"group": 64}}
"""Where the default options do not fit the graph below. A required number is 2."""

KEEPS_FLOP = ("weight_quantization", "structured_sparsity", "integer_only")


@pytest.fixture(scope="module")
def graphs() -> tuple[Graph, ...]:
    """A model, one step of its training, and a network of images."""
    forward = aisys.read("smollm2-135m", tokens=64)
    return forward, aisys.TrainingStep().apply(forward), aisys.read("mobilenet-v2", batch=2)


def technique_of(stem: str) -> Any:
    cls = plugins.find("technique", stem)
    required = (f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING)
    return cls(**{**dict.fromkeys(required, 2), **OPTIONS.get(stem, {})})


@pytest.mark.parametrize("stem", plugins.names("technique"))
def test_every_technique_keeps_its_contract(stem: str, graphs: tuple[Graph, ...]) -> None:
    """On the first of the graphs that it does not refuse."""
    technique, refused = technique_of(stem), []
    for graph in graphs:
        try:
            check_technique(technique, graph, keeps_flop=stem in KEEPS_FLOP)
        except CannotApply as error:
            refused.append(error)
        else:
            return
    raise refused[0]


@dataclass
class Mutable:
    def apply(self, graph: Graph) -> Graph:
        return graph


@dataclass(frozen=True)
class Idle:
    pass


@dataclass(frozen=True)
class Fickle:
    calls: list[int] = field(default_factory=list, hash=False)

    def apply(self, graph: Graph) -> Graph:
        self.calls.append(1)
        return replace(graph, segments=graph.segments * len(self.calls))


@dataclass(frozen=True)
class Unsound:
    def apply(self, graph: Graph) -> Graph:
        return replace(graph, segments=graph.segments[::-1])


@dataclass(frozen=True)
class Cheaper:
    def apply(self, graph: Graph) -> Graph:
        return replace(graph, segments=graph.segments[:-1])


class Scribbling(WeightQuantization):
    def emulate(self, model: Any) -> Any:
        for array in model.values():
            array[:] = 0
        return model


class Forgetful(WeightQuantization):
    def emulate(self, model: Any) -> Any:
        return dict(list(model.items())[1:])


@pytest.mark.parametrize(
    ("technique", "said"),
    [
        (Mutable(), "make it a frozen dataclass"),
        (Idle(), "has none of the verbs"),
        (Fickle(), "two calls of apply give"),
        (Unsound(), "Unsound: block"),
        (Cheaper(), "changes the flop"),
        (Scribbling(group=64), "emulate changes its argument"),
        (Forgetful(group=64), "emulate loses"),
    ],
)
def test_a_broken_technique_is_found(technique: Any, said: str, graphs: tuple[Graph, ...]) -> None:
    with pytest.raises(ContractBroken, match=said):
        check_technique(technique, graphs[0], keeps_flop=True)


def test_a_technique_that_stores_other_bytes_than_it_prices_is_found(graphs: tuple[Graph, ...]) -> None:
    class Wide(WeightQuantization):
        def pack(self, name: str, array: Any) -> Any:
            return WeightQuantization.pack(replace(self, bits=8), name, array)

    with pytest.raises(ContractBroken, match=r"takes \d+ bytes, but apply prices"):
        check_technique(Wide(bits=4, group=64), graphs[0])
