"""Optimizer offload: the optimizer's state lives in host memory and is updated there."""

from dataclasses import dataclass

from aisys.plan.space import PlanSpace


@dataclass(frozen=True, slots=True)
class OptimizerOffload:
    """Keep master weights and moments in the host's memory; gradients go to the host, weights come back.

    Source: Ren et al. 2021 (ZeRO-Offload).
    """

    def constrain(self, space: PlanSpace) -> PlanSpace:
        """Only plans that offload."""
        return space.narrow(offload_optimizer=(True,))
