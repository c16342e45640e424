"""Mappings of Timeloop as loop nests. Its permutations list loops from the innermost outwards."""

import re
from pathlib import Path
from typing import Any

from aisys.cost.loop_nest.einsum import Einsum
from aisys.cost.loop_nest.mapping import Keep, Loop, Mapping, Node
from aisys.cost.loop_nest.timeloop.architecture import Architecture
from aisys.cost.loop_nest.timeloop.fields import text_at
from aisys.cost.loop_nest.yaml_file import read_yaml
from aisys.errors import BadInput, unknown_name

_FACTOR = re.compile(r"(\w+?)\s*=\s*(\d+)")
_SPACES = ("dataspace", "datatype", "bypass")


def read_mapping(path: Path, architecture: Architecture, einsum: Einsum, key: str = "mapping") -> Mapping:
    """The mapping in a Timeloop 0.4 file, or what fully determined constraints say (`mapspace_constraints`).

    A factor of 0 stands for all that is left of the dim, as in Timeloop. Raises BadInput for a file that is not one,
    and for one that leaves the mapping open (a target without factors for a dim counts as 1 only in a mapping).
    """
    directives = directives_of(path, key)
    by_target: dict[tuple[str, str], dict[str, Any]] = {}
    known = {level.name for level in architecture.machine.levels}
    for directive in directives:
        target, sort = text_at(directive, "target", path), text_at(directive, "type", path)
        if target not in known:
            raise unknown_name(f"target in {path.name}", target, known)
        by_target[target, "dataspace" if sort in _SPACES else sort] = directive
    left = dict(einsum.extents)
    nodes: list[Node] = []
    for level in architecture.machine.levels:
        if level.keeps:
            kept = _kept(by_target.get((level.name, "dataspace")), level.name, architecture, einsum)
            nodes += [Keep(level.name, kept)] if kept else []
            nodes += _loops(by_target.get((level.name, "temporal")), einsum, left, path)
        if level.fanout:
            spatial = by_target.get((level.name, "spatial"))
            nodes += _spread(spatial, level.name, list(level.fanout), einsum, left, path)
    for dim, rest in left.items():
        if rest != 1:
            raise BadInput(
                f"{path.name}: the factors of {dim} leave {rest:g}x of its extent {einsum.extents[dim]} open"
            )
    return Mapping(tuple(nodes))


def directives_of(path: Path, key: str = "mapspace_constraints") -> list[Any]:
    """The directives of a mapping or of constraints. Raises BadInput where there is no list of them."""
    document = read_yaml(path)
    directives = document.get(key) if isinstance(document, dict) else None
    if isinstance(directives, dict):
        directives = directives.get("targets")
    if not isinstance(directives, list):
        raise BadInput(f"{path.name}: no list {key!r}; is the file cut off?")
    return directives


def _kept(directive: dict[str, Any] | None, level: str, architecture: Architecture, einsum: Einsum) -> tuple[str, ...]:
    """Operands kept at a level: the mapping decides where it speaks, else the architecture, else all are kept."""
    names = [operand.name for operand in einsum.operands]
    default, bypass = architecture.keeps[level], set(architecture.bypasses[level])
    keep = set(names if default is None else default)
    if directive is not None:
        keep |= set(directive.get("keep") or ())
        bypass = (bypass - set(directive.get("keep") or ())) | set(directive.get("bypass") or ())
    for name in (keep | bypass) - set(names):
        raise unknown_name("data space", name, names)
    return tuple(name for name in names if name in keep and name not in bypass)


def _loops(directive: dict[str, Any] | None, einsum: Einsum, left: dict[str, Any], path: Path) -> list[Loop]:
    factors = _factors(directive, einsum, left, path)
    return [Loop(dim, factors[dim]) for dim in reversed(_order(directive, einsum, path)) if factors[dim] > 1]


def _spread(
    directive: dict[str, Any] | None, level: str, axes: list[str], einsum: Einsum, left: dict[str, Any], path: Path
) -> list[Loop]:
    """Dims before `split` in the permutation lie along the first axis (meshX), the others along the second."""
    factors = _factors(directive, einsum, left, path)
    order = _order(directive, einsum, path)
    split = (directive or {}).get("split", len(order))
    axis_of = {dim: axes[0] if len(axes) == 1 or i < split else axes[1] for i, dim in enumerate(order)}
    return [Loop(dim, factors[dim], f"{level}.{axis_of[dim]}") for dim in reversed(order) if factors[dim] > 1]


def _factors(directive: dict[str, Any] | None, einsum: Einsum, left: dict[str, Any], path: Path) -> dict[str, int]:
    """The factors of one target; takes them off what is `left` of each dim."""
    given = (directive or {}).get("factors", "")
    text = " ".join(map(str, given)) if isinstance(given, list) else str(given)
    factors = dict.fromkeys(einsum.dims, 1)
    rest = _FACTOR.sub("", text).replace(",", " ").split()
    if rest:
        raise BadInput(f"{path.name}: factors {text[:80]!r} are not of the form DIM=NUMBER, each a whole factor")
    for dim, number in _FACTOR.findall(text):
        if dim not in factors:
            raise unknown_name(f"dim in {path.name}", dim, einsum.dims)
        factors[dim] = int(number) or int(left[dim])
        left[dim] = left[dim] / factors[dim]
    return factors


def _order(directive: dict[str, Any] | None, einsum: Einsum, path: Path) -> list[str]:
    """Dims from the innermost loop outwards; those that the permutation leaves out come last."""
    given = (directive or {}).get("permutation", "")
    words = given if isinstance(given, list) else str(given).split() if " " in str(given) else list(str(given))
    for word in words:
        if word not in einsum.extents:
            raise unknown_name(f"dim in {path.name}", str(word), einsum.dims)
    return [*words, *(dim for dim in einsum.dims if dim not in words)]
