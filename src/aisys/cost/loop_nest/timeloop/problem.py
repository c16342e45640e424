"""Problems of Timeloop as einsums. A data space that is read and written is the output; the others are inputs."""

from pathlib import Path
from typing import Any

from aisys.cost.loop_nest.einsum import Einsum, Operand, Rank
from aisys.cost.loop_nest.timeloop.fields import count_at, list_at, mapping_at, text_at
from aisys.cost.loop_nest.yaml_file import read_yaml
from aisys.errors import BadInput
from aisys.frozen import FrozenMap


def read_problem(path: Path) -> Einsum:
    """The einsum of a Timeloop 0.4 problem file.

    Raises BadInput, in one sentence, for a file that is not one, a dim without an extent, or an extent below 1.
    """
    problem = mapping_at(read_yaml(path), "problem", path)
    shape, instance = mapping_at(problem, "shape", path), mapping_at(problem, "instance", path)
    dims = [str(dim) for dim in list_at(shape, "dimensions", path)]
    coefficients = {
        text_at(one, "name", path): count_at({"value": instance.get(one["name"], one.get("default", 1))}, "value", path)
        for one in shape.get("coefficients") or []
    }
    extents = {dim: count_at(instance, dim, path) for dim in dims}
    operands = tuple(
        _operand(space, number, coefficients, path) for number, space in enumerate(list_at(shape, "data_spaces", path))
    )
    return Einsum(name=str(shape.get("name", path.stem)), extents=FrozenMap(extents), operands=operands)


def _operand(space: Any, number: int, coefficients: dict[str, int], path: Path) -> Operand:
    """The first data space that is read counts as the weight, as in every problem that Timeloop ships."""
    name = text_at(space, "name", path)
    role = "output" if space.get("read_write") else "weight" if number == 0 else "input"
    ranks = tuple(_rank(terms, coefficients, path) for terms in list_at(space, "projection", path))
    return Operand(name=name, role=role, ranks=ranks)


def _rank(terms: Any, coefficients: dict[str, int], path: Path) -> Rank:
    """`[[R], [P, Wstride]]` is R + Wstride P."""
    rank: dict[str, int] = {}
    for term in terms if isinstance(terms, list) else [terms]:
        dim, *factors = term if isinstance(term, list) else [term]
        coefficient = 1
        for factor in factors:
            if factor not in coefficients:
                raise BadInput(f"{path.name}: {factor!r} is no coefficient; it has {', '.join(coefficients) or 'none'}")
            coefficient *= coefficients[factor]
        rank[str(dim)] = rank.get(str(dim), 0) + coefficient
    return FrozenMap(rank)
