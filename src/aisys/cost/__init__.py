"""Cost models: what each op of a table takes on one device, without contention."""

from aisys.cost.types import CostTable, Tier, cost

__all__ = ["CostTable", "Tier", "cost"]
