"""The best mappings of one einsum as loop nests, and the certificate that there is no better one."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from aisys.cost.loop_nest.bound import Objective, ranked
from aisys.cost.loop_nest.einsum import Einsum
from aisys.cost.loop_nest.evaluate import evaluate
from aisys.cost.loop_nest.hierarchy import Hierarchy
from aisys.cost.loop_nest.kept import keep_answer, kept
from aisys.cost.loop_nest.mapper import Front, front
from aisys.cost.loop_nest.mapping import Keep, Loop, Mapping, Node, parse
from aisys.cost.loop_nest.partial import Partials
from aisys.cost.loop_nest.partial import pareto as pareto_rows
from aisys.cost.loop_nest.space import Space
from aisys.errors import BadInput, unknown_name

OBJECTIVES: tuple[Objective, ...] = ("energy", "latency", "edp")


ROUNDING = 1e-9
"""Relative difference of two costs that are one, added up in another order."""

MOST_NESTS = 20_000_000
"""Partial nests that a search looks at before it narrows: about as many as ten to twenty seconds allow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """explored: partial nests that were looked at; pruned: those dropped, each beaten by another or by the bound.

    bound: what the objective cannot fall below by compulsory traffic and units alone; above_bound: how far the best
    mapping lies above it, relative. is_exhaustive: nothing was dropped without a reason. gap: the most that the best
    mapping may lie above the optimum of the space, relative: of an exhaustive search 0, but where it costs more than
    the search counted on, in copies of tiles that stay and in whole blocks. spared: how much less it costs than that
    where tiles stay or overlap for some steps, relative; another mapping may be spared more.
    """

    objective: Objective
    explored: int
    pruned: int
    bound: float
    above_bound: float
    is_exhaustive: bool
    gap: float
    spared: float

    @property
    def is_optimal(self) -> bool:
        """Whether no mapping of the space is better."""
        return self.is_exhaustive and self.gap == 0

    def __str__(self) -> str:
        looked = f"{self.explored:,} partial nests explored, {self.pruned:,} dropped"
        above = f"{self.above_bound:.1%} above what compulsory traffic and full units allow"
        spared = f"; {self.spared:.2%} cheaper than the search counted on" if self.spared > 0 else ""
        if self.is_optimal:
            return f"optimal in its space: {looked}, gap 0; {above}{spared}"
        if self.is_exhaustive:
            return f"at most {self.gap:.2g} (relative) above the optimum of its space: {looked}; {above}"
        return f"not proved optimal, the search narrowed: {looked}; at most {above}{spared}"


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
def optimum(
    einsum: Einsum, machine: Hierarchy, objective: Objective = "edp", *, pareto: bool = False,
    most_nests: int = MOST_NESTS,
) -> Optimum:  # fmt: skip
    """The best mapping of `einsum`, and the others that none beats where `pareto` asks for them.

    A shape that was mapped before is not searched again, not even by another process (`kept`).
    The space: the tiles of `Space.sizes`, operands kept or passed by at every level that may keep them, any order
    within a level, loops over any fan-out dim that its sharing allows. The search counts a tile inside a fan-out with
    every step in time outside, or once where none moves it, and windows whole. What is returned is priced by
    `evaluate`, which also knows what stays for some of the steps, so that it may be cheaper than counted. A search that
    looked at `most_nests` partial nests goes on with the most hopeful ones only; the certificate says so.
    Raises BadInput where no mapping fits.
    """
    question = (einsum, machine, objective, pareto, most_nests)
    answer = kept(question)
    if answer is not None:
        return _read(answer)
    found = _searched(einsum, machine, objective, pareto, most_nests)
    keep_answer(question, _written(found))
    return found


def _searched(einsum: Einsum, machine: Hierarchy, objective: Objective, pareto: bool, most_nests: int) -> Optimum:
    space = Space(einsum=einsum, machine=machine, is_cut=True)
    found = front(space, goal=None if pareto else objective, most_nests=most_nests)
    if not found.nests and not found.is_whole:
        found = front(space, goal=None if pareto else objective)
    if not found.nests:
        room = ", ".join(f"{level.name} {level.capacity_bits / 8:,.0f} B" for level in machine.levels)
        raise BadInput(f"{einsum.name}: no mapping fits {machine.name} ({room}); give it more room")
    nests = [nest(space, table, row) for table, row in found.nests]
    costs = [evaluate(einsum, machine, one) for one in nests]
    joule, cycles = (np.array([float(getattr(c, n)[0]) for c in costs]) for n in ("energy_joule", "cycles"))
    score, second = ranked((joule, cycles), objective)
    unbeaten = set(pareto_rows(np.zeros(len(nests), np.int64), [joule, cycles]).tolist())
    order = [i for i in np.lexsort((second, score)).tolist() if i in unbeaten]
    return Optimum(
        mappings=tuple(nests[i] for i in order), joule=tuple(joule[order].tolist()),
        cycles=tuple(cycles[order].tolist()), certificate=_certificate(found, objective, float(score[order[0]])),
    )  # fmt: skip


def _certificate(found: Front, objective: Objective, best: float) -> Certificate:
    """What the search says of its best mapping, whose objective is `best`."""
    counted = float(ranked((found.joule, found.cycles), objective)[0].min())
    floor, _ = ranked((found.bound_joule, found.bound_cycles), objective)
    above, more = max(0.0, best / floor - 1), best / counted - 1
    gap = max(0.0, more) if found.is_whole else above
    return Certificate(
        objective=objective, explored=found.explored, pruned=found.pruned, bound=floor, above_bound=above,
        is_exhaustive=found.is_whole, gap=gap if gap > ROUNDING else 0.0, spared=-more if more < -ROUNDING else 0.0,
    )  # fmt: skip


def _written(found: Optimum) -> dict[str, Any]:
    nests = zip(map(str, found.mappings), found.joule, found.cycles, strict=True)
    return {"nests": list(nests), "certificate": asdict(found.certificate)}


def _read(answer: dict[str, Any]) -> Optimum:
    mappings, joule, cycles = zip(*answer["nests"], strict=True)
    return Optimum(
        mappings=tuple(map(parse, mappings)), joule=joule, cycles=cycles,
        certificate=Certificate(**answer["certificate"]),
    )  # fmt: skip


def nest(space: Space, table: Partials, row: int) -> Mapping:
    """The loop nest of one row of a complete table, outermost node first."""
    outermost = Keep(space.machine.levels[0].name, tuple(operand.name for operand in space.einsum.operands))
    return Mapping((outermost, *(node for node in _nodes(space, table, row) if not _is_outermost(node, space))))


def _is_outermost(node: Node, space: Space) -> bool:
    return isinstance(node, Keep) and node.level == space.machine.levels[0].name


def _nodes(space: Space, table: Partials, row: int) -> Iterator[Node]:
    current: Partials | None = table
    while current is not None and current.inner is not None:
        inner, below = current.inner, int(current.origin[row])
        if current.step.kind == "keep":
            yield Keep(space.machine.levels[current.step.level].name, (current.step.name,))
        for d, dim in enumerate(space.dims):
            factor = int(-(-space.sizes[d][current.index[row, d]] // space.sizes[d][inner.index[below, d]]))
            if factor > 1:
                yield Loop(dim, factor, current.step.name if current.step.kind == "spread" else "")
        current, row = inner, below
