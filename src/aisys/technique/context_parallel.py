"""Context parallelism: the tokens of one sequence spread over devices."""

from dataclasses import dataclass

from aisys.plan.space import PlanSpace


@dataclass(frozen=True, slots=True)
class ContextParallel:
    """Spread each sequence over `degree` devices, zigzag; keys and values are gathered under attention.

    Source: Liu et al. 2023 (ring attention); Llama Team 2024, section 3.3.2 (all-gather form).
    """

    degree: int

    def constrain(self, space: PlanSpace) -> PlanSpace:
        """Only plans with this context degree."""
        return space.narrow(context=(self.degree,))
