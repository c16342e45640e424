"""How an einsum runs on a hierarchy: loops over tiles, spread over units, with what each level keeps.

Written outermost first, one node per line:

    dram keeps input weight output
    for k: 4
      glb keeps input output
      spread k over glb.cols: 14
        spad keeps weight
        for r: 3

`for` steps through tiles in time, `spread` hands one tile to each unit of a fan-out dim. A level may keep different
operands at different places of the nest (uneven tiles). Loops of one dim multiply to at least its extent; a product
above it leaves the last tiles part full (imperfect factors).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.cost.loop_nest.einsum import Einsum
from aisys.cost.loop_nest.hierarchy import Hierarchy
from aisys.errors import BadInput

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Keep:
    """From here inwards, `level` holds the tile of each of `operands` that the loops below walk over."""

    level: str
    operands: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.level} keeps {' '.join(self.operands)}"


@dataclass(frozen=True, slots=True)
class Loop:
    """`factor` tiles of `dim`: one after the other, or side by side over fan-out dim `over` (`level.dim`)."""

    dim: str
    factor: int = 1
    over: str = ""

    @property
    def is_spatial(self) -> bool:
        """Whether its tiles run at the same time on different units."""
        return bool(self.over)

    def __str__(self) -> str:
        return f"spread {self.dim} over {self.over}: {self.factor}" if self.over else f"for {self.dim}: {self.factor}"


Node = Keep | Loop


@dataclass(frozen=True, slots=True)
class Mapping:
    """`nodes`, outermost first. Text form: see the module; `str` writes it and `parse` reads it."""

    nodes: tuple[Node, ...]

    def __str__(self) -> str:
        return "\n".join(_lines(self.nodes))

    @property
    def loops(self) -> tuple[Loop, ...]:
        """Its loops, outermost first."""
        return tuple(node for node in self.nodes if isinstance(node, Loop))

    def with_factors(self, factors: Sequence[int]) -> "Mapping":
        """The same nest with other factors, in the order of `loops`."""
        left = iter(factors)
        nodes = (replace(n, factor=int(next(left))) if isinstance(n, Loop) else n for n in self.nodes)
        return Mapping(tuple(nodes))


@dataclass(frozen=True, slots=True, eq=False)
class MappingTable:
    """Many mappings of one nest: row i of `factors`, int array [rows, loops], replaces the factors of `nest.loops`."""

    nest: Mapping
    factors: Ints

    @classmethod
    def of(cls, nest: Mapping, factors: Any = None) -> "MappingTable":
        """A table from rows of factors; without any, the one mapping that `nest` is."""
        rows = [[loop.factor for loop in nest.loops]] if factors is None else factors
        return cls(nest, np.asarray(rows, np.int64).reshape(len(rows), len(nest.loops)))

    def __len__(self) -> int:
        return len(self.factors)

    def mapping(self, row: int) -> Mapping:
        """The mapping of one row."""
        return self.nest.with_factors([int(f) for f in self.factors[row]])


def parse(text: str) -> Mapping:
    """The mapping that `text` describes. Indentation is free. Raises BadInput with the line that cannot be read.

    >>> print(parse("dram keeps input weight output\\nfor k: 4"))
    dram keeps input weight output
    for k: 4
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    return Mapping(tuple(_node(number, line) for number, line in lines))


_FORMS = (
    (re.compile(r"for (\w+): (\d{1,12})"), lambda found: Loop(found[1], int(found[2]))),
    (re.compile(r"spread (\w+) over ([\w-]+\.\w+): (\d{1,12})"), lambda found: Loop(found[1], int(found[3]), found[2])),
    (re.compile(r"([\w-]+) keeps ([\w ]+)"), lambda found: Keep(found[1], tuple(found[2].split()))),
)


def _node(number: int, line: str) -> Node:
    for form, made in _FORMS:
        found = form.fullmatch(line)
        if found:
            return made(found)
    raise BadInput(
        f"line {number} of the mapping is {line[:80]!r}; "
        "write 'for DIM: FACTOR', 'spread DIM over LEVEL.DIM: FACTOR' or 'LEVEL keeps OPERANDS'"
    )


def _lines(nodes: tuple[Node, ...]) -> Iterator[str]:
    depth = 0
    for node in nodes:
        yield "  " * depth + str(node)
        depth += isinstance(node, Loop)


def check(mapping: Mapping, einsum: Einsum, machine: Hierarchy) -> None:
    """Raises BadInput unless `mapping` is one of `einsum` on `machine`, in one sentence with the nearest that is.

    Every dim is covered; every operand lies in the outermost level and goes inwards in the order of the levels, each
    once; spatial loops fit their fan-out, lie below what is kept above it and above what is kept below it.
    """
    for loop in mapping.loops:
        if loop.dim not in einsum.extents:
            raise BadInput(f"{loop}: {einsum.name} has no dim {loop.dim!r}; it has {', '.join(einsum.extents)}")
        if loop.factor < 1:
            raise BadInput(f"{loop}: give a factor of at least 1")
    for dim, extent in einsum.extents.items():
        covered = prod(loop.factor for loop in mapping.loops if loop.dim == dim)
        if covered < extent:
            more = -(-extent // covered)
            raise BadInput(f"the loops over {dim} cover {covered} of {extent}; raise a factor by {more}x")
    _check_fanout(mapping, machine)
    _check_order(mapping, einsum, machine)


def _check_fanout(mapping: Mapping, machine: Hierarchy) -> None:
    known = {f"{level.name}.{dim}": extent for level in machine.levels for dim, extent in level.fanout.items()}
    for over in dict.fromkeys(loop.over for loop in mapping.loops if loop.over):
        if over not in known:
            raise BadInput(f"spread over {over}: {machine.name} has {', '.join(known) or 'no fan-out'}")
        used = prod(loop.factor for loop in mapping.loops if loop.over == over)
        if used > known[over]:
            raise BadInput(
                f"{used} tiles are spread over {over}, which has {known[over]} units; at most {known[over]} fit"
            )


def _check_order(mapping: Mapping, einsum: Einsum, machine: Hierarchy) -> None:
    """Operands go inwards level by level; a fan-out lies inside the levels outside it and outside those inside."""
    reached = dict.fromkeys((operand.name for operand in einsum.operands), -1)
    passed, deepest = -1, -1
    for node in mapping.nodes:
        if isinstance(node, Keep):
            position = machine.index(node.level)
            deepest = max(deepest, position)
            _check_keep(node, einsum, machine, (position, passed))
            _check_reached(node, machine, position, reached)
            reached |= dict.fromkeys(node.operands, position)
        elif node.over:
            passed = max(passed, machine.index(node.over.rpartition(".")[0]))
            if machine.index(node.over.rpartition(".")[0]) < deepest:
                inner = machine.levels[deepest].name
                raise BadInput(f"{node} lies inside what {inner} keeps, which is below that fan-out; put it above")
    for name, position in reached.items():
        if position < 0:
            raise BadInput(f"{name} is not kept in {machine.levels[0].name}; every operand begins there")


def _check_reached(node: Keep, machine: Hierarchy, position: int, reached: dict[str, int]) -> None:
    for name in node.operands:
        if position <= reached[name]:
            above = machine.levels[reached[name]].name
            raise BadInput(f"{name} is kept in {node.level} inside {above}; levels go inwards, each once")
        if reached[name] < 0 and position:
            raise BadInput(f"{name} is not kept in {machine.levels[0].name}; every operand begins there")


def _check_keep(node: Keep, einsum: Einsum, machine: Hierarchy, place: tuple[int, int]) -> None:
    position, passed = place
    level = machine.levels[position]
    for name in node.operands:
        role = einsum.operand(name).role
        if role not in level.keeps:
            kept = " ".join(sorted(level.keeps)) or "nothing"
            raise BadInput(f"{level.name} does not keep {role}s; it keeps {kept}")
    if position <= passed:
        outer = machine.levels[passed].name
        raise BadInput(f"{level.name} keeps {' '.join(node.operands)} below the fan-out of {outer}; put it above")
