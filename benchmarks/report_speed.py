"""CPU time to write an answer: the page, the trace, and the whole folder, for a small and a large timeline.

Usage: python benchmarks/report_speed.py
"""

from collections.abc import Callable
from time import process_time

import aisys
from aisys.plan.space import PlanSpace
from aisys.report import Frontier
from aisys.report.folder import folder_files
from aisys.report.page import page
from aisys.report.trace import trace_text


class DeepPipeline:
    """Hold plans to eight stages, so that the timeline has many tasks."""

    def constrain(self, space: PlanSpace) -> PlanSpace:
        """Only plans with eight stages."""
        return space.narrow(pipeline=(8,))


def answer(batch: int) -> tuple[Frontier, aisys.Machine]:
    """The plans of a 70b training step of `batch` sequences on 64 devices."""
    machine = aisys.machine("dgx-h100*8")
    graph = aisys.read("llama-3.1-70b", batch=batch, tokens=4096)
    return aisys.search(graph, machine, techniques=[aisys.TrainingStep(), DeepPipeline()]), machine


def cpu_s(run: Callable[[], object]) -> float:
    """CPU seconds of the second call: the first one reads plotly's script."""
    run()
    start = process_time()
    run()
    return process_time() - start


if __name__ == "__main__":
    for batch in (128, 2048):
        found, machine = answer(batch)
        timeline = found.reports[0].timeline
        print(f"{len(timeline.program) if timeline else 0:,} tasks, {len(found.reports)} plans")
        print(f"  page    {cpu_s(lambda: page(found, machine.device)):.3f} CPU s")  # noqa: B023  # called at once
        print(f"  trace   {cpu_s(lambda: trace_text(found.reports[0])):.3f} CPU s")  # noqa: B023
        print(f"  folder  {cpu_s(lambda: folder_files(found, machine.device)):.3f} CPU s")  # noqa: B023
