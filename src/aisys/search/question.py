"""What is asked: a workload with techniques applied, on a machine, under a framework."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from aisys.cost import Tier
from aisys.errors import BadInput, CannotApply
from aisys.ir import Graph
from aisys.lower.framework import Framework, framework, usual_framework
from aisys.lower.shares import Setting, Shop
from aisys.machine import Machine
from aisys.plan.space import PlanSpace


@dataclass(frozen=True, eq=False, kw_only=True)
class Question:
    """graph: with every applying technique applied. space: narrowed by every constraining one.

    goal: train where the graph has gradient ops, else infer; then `decode` is the graph of one decode step.
    batch, tokens: sequences of one step and tokens of each.
    """

    graph: Graph
    space: PlanSpace
    machine: Machine
    framework: Framework
    tier: Tier
    goal: str
    batch: int
    tokens: int
    decode: Graph | None = None

    @property
    def setting(self) -> Setting:
        """The part that stays fixed while plans vary."""
        return Setting(graph=self.graph, machine=self.machine, framework=self.framework, tier=self.tier)


def ask(
    graph: Graph, machine: Machine, techniques: Sequence[Any] = (), *, framework_name: str = "", tier: Tier = "analytic",
    decode: Graph | None = None,
) -> Question:  # fmt: skip
    """Apply the techniques in order: those that decide something narrow the plan space, the others change the graph.

    Raises BadInput for an object that is no technique, CannotApply where one does not fit.
    """
    space = PlanSpace()
    for technique in techniques:
        if hasattr(technique, "constrain"):
            space = technique.constrain(space)
        elif hasattr(technique, "apply"):
            graph = technique.apply(graph)
            decode = decode and technique.apply(decode)
        else:
            raise BadInput(f"{technique!r} is no technique: it has neither apply nor constrain")
    trains = any(op.phase != "forward" for block in graph.blocks for op in block.ops)
    goal = "train" if trains else "infer"
    name = framework_name or usual_framework(machine, goal)
    return Question(
        graph=graph, space=space, machine=machine, framework=framework(name), tier=tier, goal=goal,
        batch=extent(graph, "batch"), tokens=extent(graph, "token"), decode=decode,
    )  # fmt: skip


def extent(graph: Graph, axis: str) -> int:
    """The extent of `axis` in the graph's first block. Raises CannotApply where it has no such axis."""
    for op in graph.segments[0].block.ops:
        if axis in op.space:
            return op.space[axis]
    raise CannotApply(f"graph {graph.name!r} has no axis {axis!r}; plans are made for batches of token sequences")


@lru_cache(maxsize=16)
def _shop(graph: Graph, machine: Machine, framework_of: Framework, tier: Tier) -> Shop:
    return Shop(Setting(graph=graph, machine=machine, framework=framework_of, tier=tier))


def shop(question: Question) -> Shop:
    """The priced blocks of this question; questions that differ in nothing share one."""
    return _shop(question.graph, question.machine, question.framework, question.tier)
