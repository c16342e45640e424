"""Graphs really run: every op on small arrays in double precision, alone or cut over a mesh of ranks."""

from aisys.testing.execution.check import (
    check_gradients,
    check_kept,
    check_sharding_executes,
    check_technique_executes,
)
from aisys.testing.execution.device import Execution, execute
from aisys.testing.execution.mesh import execute_sharded
from aisys.testing.execution.numbers import Numbers, draw
from aisys.testing.execution.small import small_graph

__all__ = [
    "Execution",
    "Numbers",
    "check_gradients",
    "check_kept",
    "check_sharding_executes",
    "check_technique_executes",
    "draw",
    "execute",
    "execute_sharded",
    "small_graph",
]
