"""Cost models: what each op of a table takes on one device, without contention."""

from aisys.cost.graph import GraphCost, KernelCost, graph_cost
from aisys.cost.types import CostTable, Tier, cost

__all__ = ["CostTable", "GraphCost", "KernelCost", "Tier", "cost", "graph_cost"]
