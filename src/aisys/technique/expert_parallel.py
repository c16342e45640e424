"""Expert parallelism: the experts of a layer spread over data-parallel ranks."""

from dataclasses import dataclass

from aisys.plan.space import PlanSpace


@dataclass(frozen=True, slots=True)
class ExpertParallel:
    """Spread experts over `degree` of the data-parallel ranks; tokens reach them by all-to-all.

    Source: Lepikhin et al. 2020 (GShard).
    """

    degree: int

    def constrain(self, space: PlanSpace) -> PlanSpace:
        """Only plans with this expert degree."""
        return space.narrow(expert=(self.degree,))
