"""Conformance kits: what every plug-in of a kind promises, as functions that raise ContractBroken where it does not.

An outside package calls the kit of its kind from one test; AISys runs the same kits on its own plug-ins.
"""

from aisys.testing.collective import check_collective
from aisys.testing.contract import ContractBroken
from aisys.testing.cost_model import check_cost_model
from aisys.testing.execution import (
    check_gradients,
    check_kept,
    check_sharding_executes,
    check_technique_executes,
    small_graph,
)
from aisys.testing.schedule import check_schedule
from aisys.testing.technique import check_technique
from aisys.testing.workload import check_workload

__all__ = [
    "ContractBroken",
    "check_collective",
    "check_cost_model",
    "check_gradients",
    "check_kept",
    "check_schedule",
    "check_sharding_executes",
    "check_technique",
    "check_technique_executes",
    "check_workload",
    "small_graph",
]
