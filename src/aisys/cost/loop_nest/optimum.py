"""The best mappings of one einsum as loop nests, and the certificate that there is no better one."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from aisys.cost.loop_nest.einsum import Einsum
from aisys.cost.loop_nest.hierarchy import Hierarchy
from aisys.cost.loop_nest.mapper import front
from aisys.cost.loop_nest.mapping import Keep, Loop, Mapping, Node
from aisys.cost.loop_nest.partial import Partials
from aisys.cost.loop_nest.space import Space
from aisys.errors import BadInput, Unsupported, unknown_name

Objective = Literal["energy", "latency", "edp"]
OBJECTIVES: tuple[Objective, ...] = ("energy", "latency", "edp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """explored: partial nests that were looked at; pruned: those dropped, each beaten by another or by the bound.

    bound: what the objective cannot fall below by compulsory traffic and units alone; gap: how far the best mapping
    lies above it, relative. optimal: the search was exhaustive, so the distance to the optimum of the space is 0.
    """

    objective: Objective
    explored: int
    pruned: int
    bound: float
    gap: float
    optimal: bool = True

    def __str__(self) -> str:
        return (
            f"optimal in its space: {self.explored:,} partial nests explored, {self.pruned:,} dropped, gap 0; "
            f"{self.gap:.1%} above what compulsory traffic and full units allow"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimum:
    """The best mapping first, then the others that no mapping beats in both energy and cycles."""

    mappings: tuple[Mapping, ...]
    joule: tuple[float, ...]
    cycles: tuple[float, ...]
    certificate: Certificate

    @property
    def best(self) -> Mapping:
        """The mapping that is best for the objective."""
        return self.mappings[0]


def objective_of(text: str) -> Objective:
    """The objective that a user named. Raises UnknownName with the nearest."""
    for known in OBJECTIVES:
        if text == known:
            return known
    raise unknown_name("objective", text, OBJECTIVES)


@lru_cache(maxsize=4096)
def optimum(einsum: Einsum, machine: Hierarchy, objective: Objective = "edp") -> Optimum:
    """The best mappings of `einsum`; a shape that was mapped before is not searched again.

    The space: tiles that divide the extents, operands kept or passed by at every level that may keep them, any order
    within a level, loops over any fan-out dim that its sharing allows. Sliding windows are fetched whole.
    Raises BadInput where no mapping fits; Unsupported for single buffers, and memories that leak or move whole blocks.
    """
    for level in machine.levels:
        if not level.is_double_buffered or level.leak_joule_per_cycle or level.block_words > 1:
            raise Unsupported(
                f"{machine.name}: {level.name} is a single buffer, leaks or moves blocks; the mapper knows none of it"
            )
    space = Space(einsum=einsum, machine=machine)
    found = front(space)
    if not found.nests:
        room = ", ".join(f"{level.name} {level.capacity_bits / 8:,.0f} B" for level in machine.levels)
        raise BadInput(f"{einsum.name}: no mapping fits {machine.name} ({room}); give it more room")
    score = {"energy": found.joule, "latency": found.cycles, "edp": found.joule * found.cycles}[objective]
    floor = {
        "energy": found.bound_joule, "latency": found.bound_cycles, "edp": found.bound_joule * found.bound_cycles
    }[objective]  # fmt: skip
    order = sorted(range(len(score)), key=lambda i: (float(score[i]), float(found.joule[i])))
    certificate = Certificate(
        objective=objective, explored=found.explored, pruned=found.pruned, bound=floor,
        gap=float(score[order[0]]) / floor - 1,
    )  # fmt: skip
    return Optimum(
        mappings=tuple(nest(space, *found.nests[i]) for i in order), joule=tuple(float(found.joule[i]) for i in order),
        cycles=tuple(float(found.cycles[i]) for i in order), certificate=certificate,
    )  # fmt: skip


def nest(space: Space, table: Partials, row: int) -> Mapping:
    """The loop nest of one row of a complete table, outermost node first."""
    kept = {name: level.name for level in space.machine.levels[:1] for name in (o.name for o in space.einsum.operands)}
    nodes = [*(Keep(level, (name,)) for name, level in kept.items())]
    return Mapping((*nodes, *(n for n in _nodes(space, table, row) if not _is_outermost(n, space))))


def _is_outermost(node: Node, space: Space) -> bool:
    return isinstance(node, Keep) and node.level == space.machine.levels[0].name


def _nodes(space: Space, table: Partials, row: int) -> Iterator[Node]:
    current: Partials | None = table
    while current is not None and current.inner is not None:
        inner, below = current.inner, int(current.origin[row])
        if current.step.kind == "keep":
            yield Keep(space.machine.levels[current.step.level].name, (current.step.name,))
        for d, dim in enumerate(space.dims):
            factor = int(space.sizes[d][current.index[row, d]] // space.sizes[d][inner.index[below, d]])
            if factor > 1:
                yield Loop(dim, factor, current.step.name if current.step.kind == "spread" else "")
        current, row = inner, below
