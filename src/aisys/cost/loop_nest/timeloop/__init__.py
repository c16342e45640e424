"""Inputs of Timeloop 4 (architecture, problem, mapping, energy table), and what it prints for them."""

from aisys.cost.loop_nest.timeloop.architecture import read_architecture
from aisys.cost.loop_nest.timeloop.mapping import read_mapping
from aisys.cost.loop_nest.timeloop.problem import read_problem
from aisys.cost.loop_nest.timeloop.run_folder import RunFolder
from aisys.cost.loop_nest.timeloop.stats import Stats, run

__all__ = ["RunFolder", "Stats", "read_architecture", "read_mapping", "read_problem", "run"]
