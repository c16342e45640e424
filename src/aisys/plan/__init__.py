"""Plans: which device does which part. Decisions, no times."""

from aisys.plan.sharding import Degrees, ShardedBlock, Transfer, shard
from aisys.plan.types import Plan, PlanTable

__all__ = ["Degrees", "Plan", "PlanTable", "ShardedBlock", "Transfer", "shard"]
