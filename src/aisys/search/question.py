"""What is asked: a workload with techniques applied, on a machine, under a framework."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from aisys.cost import Tier
from aisys.errors import BadInput
from aisys.ir import Graph
from aisys.lower.framework import Framework, framework, usual_framework
from aisys.lower.shares import Setting, Shop
from aisys.machine import Machine
from aisys.plan.space import PlanSpace, WorkloadShape, workload_shape
from aisys.technique.kernel_fusion import KernelFusion


@dataclass(frozen=True, slots=True)
class Serving:
    """A served workload: `prefill` reads the prompts, `decode` is one step after them, with their keys and values kept.

    Both graphs hold the same batch.
    """

    prefill: Graph
    decode: Graph


@dataclass(frozen=True, slots=True)
class ForwardPass:
    """A workload that one pass answers, such as an image network; `graph` holds the whole batch."""

    graph: Graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How to estimate: the tier of cost models, and the framework ("" takes the machine's usual one).

    calibrate: gives a machine what a person's own measurements teach; None takes it as it is.
    """

    tier: Tier = "analytic"
    framework: str = ""
    calibrate: Callable[[Machine], Machine] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Question:
    """graph: with every applying technique applied. space: narrowed by every constraining one.

    goal: train where the graph has gradient ops, else infer; then `decode` is the graph of one decode step.
    """

    graph: Graph
    space: PlanSpace
    machine: Machine
    framework: Framework
    tier: Tier
    goal: str
    shape: WorkloadShape
    decode: Graph | None = None

    @property
    def setting(self) -> Setting:
        """The part that stays fixed while plans vary."""
        return Setting(graph=self.graph, machine=self.machine, framework=self.framework, tier=self.tier)


def ask(workload: Graph | Serving, machine: Machine, techniques: Sequence[Any], method: Method) -> Question:
    """Apply the techniques in order: `constrain` narrows the plan space, `apply` changes the graph.

    Raises BadInput for an object that is no technique and for a forward graph without its decode step, CannotApply
    where a technique does not fit.
    """
    machine = method.calibrate(machine) if method.calibrate else machine
    graphs, space = applied(
        [workload] if isinstance(workload, Graph) else [workload.prefill, workload.decode], techniques
    )
    trains = any(op.phase != "forward" for block in graphs[0].blocks for op in block.ops)
    if not trains and len(graphs) == 1:
        raise BadInput(
            f"{graphs[0].name!r} does not train; add TrainingStep(), or give Serving(prefill, decode) or, "
            "for images, ForwardPass(graph)"
        )
    shapes = [workload_shape(graph) for graph in graphs]
    if len({shape.batch for shape in shapes}) > 1:
        raise BadInput(f"prefill and decode of {graphs[0].name!r} hold different batches; read both with one batch")
    space = space.narrow(hardware=("shared",))
    goal = "train" if trains else "infer"
    if not trains:
        graphs = [KernelFusion().apply(graph) for graph in graphs]
    return Question(
        graph=graphs[0], space=space, machine=machine, goal=goal, tier=method.tier,
        framework=framework(method.framework or usual_framework(machine, goal)), shape=shapes[0],
        decode=graphs[1] if len(graphs) > 1 else None,
    )  # fmt: skip


def applied(graphs: Sequence[Graph], techniques: Sequence[Any]) -> tuple[list[Graph], PlanSpace]:
    """The graphs with the techniques applied in order, and the plan space that these leave.

    Raises BadInput for an object that is no technique, CannotApply where one does not fit.
    """
    done, space = list(graphs), PlanSpace()
    for technique in techniques:
        verbs = [verb for verb in ("constrain", "apply") if hasattr(technique, verb)]
        if not verbs:
            raise BadInput(f"{technique!r} is no technique: it has neither apply nor constrain")
        if "constrain" in verbs:
            space = technique.constrain(space)
        if "apply" in verbs:
            done = [technique.apply(graph) for graph in done]
    return done, space


@lru_cache(maxsize=16)
def _shop(graph: Graph, machine: Machine, framework_of: Framework, tier: Tier) -> Shop:
    return Shop(Setting(graph=graph, machine=machine, framework=framework_of, tier=tier))


def shop(question: Question) -> Shop:
    """The priced blocks of this question; questions that differ in nothing share one."""
    return _shop(question.graph, question.machine, question.framework, question.tier)
