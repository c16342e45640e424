"""Plan evaluations per second on one core: `evaluate_many` over every plan of llama-3.1-70b on eight DGX H100 nodes.

    python benchmarks/plans.py

Warm: blocks are priced and the compiled sweep is loaded before the clock starts. CPU time of this process.
"""

from time import process_time

from aisys.machine.load import machine
from aisys.plan import PlanTable
from aisys.plan.space import PlanSpace, training_plans, workload_shape
from aisys.search import evaluate_many
from aisys.technique.training_step import TrainingStep
from aisys.workload import read


def measure(batch: int = 1024, repeats: int = 3) -> tuple[int, float]:
    """The number of plans, and evaluations per CPU-second (the best of `repeats`)."""
    graph = TrainingStep().apply(read("llama-3.1-70b", batch=batch, tokens=8192))
    cluster = machine("dgx-h100*8")
    space = PlanSpace().narrow(precision=("bf16", "fp8"), schedule=("1f1b", "gpipe"))
    plans: PlanTable = training_plans(space, cluster, workload_shape(graph))
    import aisys.lower.sweep  # noqa: F401  (its presence makes evaluation use it)

    evaluate_many(graph, cluster, plans)
    times = []
    for _ in range(repeats):
        start = process_time()
        evaluate_many(graph, cluster, plans)
        times.append(process_time() - start)
    return len(plans), len(plans) / min(times)


if __name__ == "__main__":
    number, rate = measure()
    print(f"{number} plans, {rate:,.0f} evaluations per CPU-second")
