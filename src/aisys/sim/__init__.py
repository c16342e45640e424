"""The event engine: tasks with durations on resources, in integer picoseconds. It knows neither ops nor machines."""

from aisys.sim.engine import run
from aisys.sim.program import Program, Timeline

__all__ = ["Program", "Timeline", "run"]
