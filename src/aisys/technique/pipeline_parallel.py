"""Pipeline parallelism: consecutive layers on consecutive devices."""

from dataclasses import dataclass

from aisys.plan.space import PlanSpace


@dataclass(frozen=True, slots=True)
class PipelineParallel:
    """Cut the layers into `stages`, each held as `interleave` chunks, run in the order of `schedule`.

    Source: Huang et al. 2019 (gpipe); Narayanan et al. 2019 and 2021 (1f1b, interleaved).
    """

    stages: int
    interleave: int = 1
    schedule: str = "1f1b"

    def constrain(self, space: PlanSpace) -> PlanSpace:
        """Only plans with this pipeline."""
        return space.narrow(pipeline=(self.stages,), interleave=(self.interleave,), schedule=(self.schedule,))
