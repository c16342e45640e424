"""Data parallelism: replicas that share a batch, with model state whole or spread over them."""

from dataclasses import dataclass

from aisys.plan.space import PlanSpace


@dataclass(frozen=True, slots=True)
class DataParallel:
    """`degree` replicas (0: as many as devices are left). sharding: none, zero1, zero2 or zero3 (FSDP).

    Source: Rajbhandari et al. 2020 (ZeRO); Zhao et al. 2023 (FSDP).
    """

    degree: int = 0
    sharding: str = "zero1"

    def constrain(self, space: PlanSpace) -> PlanSpace:
        """Only plans with this sharding, and this many replicas where a number is given."""
        held = space.narrow(sharding=(self.sharding,))
        return held.narrow(data=(self.degree,)) if self.degree else held
