"""Tensor parallelism: heads, feed-forward columns and vocabulary spread over neighbouring devices."""

from dataclasses import dataclass

from aisys.plan.space import PlanSpace


@dataclass(frozen=True, slots=True)
class TensorParallel:
    """Spread each layer over `degree` devices; with `sequence_parallel` norms and residuals are spread over tokens.

    Source: Shoeybi et al. 2019; Korthikanti et al. 2022 (sequence parallelism).
    """

    degree: int
    sequence_parallel: bool = True

    def constrain(self, space: PlanSpace) -> PlanSpace:
        """Only plans with this tensor degree."""
        return space.narrow(tensor=(self.degree,), sequence_parallel=(self.sequence_parallel and self.degree > 1,))
