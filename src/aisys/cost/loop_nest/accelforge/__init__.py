"""accelforge's files: its architectures and workloads, and the best mapping of one on the other."""

from aisys.cost.loop_nest.accelforge.run import best_of_files

__all__ = ["best_of_files"]
