"""The reference engine: short enough to check by eye. Every compiled path must equal it to the picosecond."""

from collections import defaultdict, deque

import numpy as np

from aisys.errors import BadInput
from aisys.sim.program import Program, Timeline

COMPILED_FROM = 50_000
"""Programs with fewer tasks run here, so that a small question never waits for a compiler."""


def run(program: Program) -> Timeline:
    """When every task of `program` runs. Raises BadInput naming tasks that wait for each other."""
    if len(program) < COMPILED_FROM:
        return run_reference(program)
    from aisys.sim.compiled import run_compiled

    return run_compiled(program)


def run_reference(program: Program) -> Timeline:
    """`run` in plain Python: each resource serves its queue in order; a task starts when all it waits for ended."""
    after = [program.after[a:b].tolist() for a, b in zip(program.after_ptr, program.after_ptr[1:], strict=False)]
    duration, resource = program.duration_ps.tolist(), program.resource.tolist()
    queues: dict[int, deque[int]] = defaultdict(deque)
    followers: dict[int, list[int]] = defaultdict(list)
    waiting = [len(a) for a in after]
    for task in range(len(program)):
        queues[resource[task]].append(task)
        for before in after[task]:
            followers[before].append(task)
    start, end = [0] * len(program), [-1] * len(program)
    free: dict[int, int] = defaultdict(int)
    active = deque(queues)
    while active:
        queue = queues[active.popleft()]
        while queue and waiting[queue[0]] == 0:
            task = queue.popleft()
            start[task] = max([free[resource[task]], *(end[a] for a in after[task])])
            end[task] = free[resource[task]] = start[task] + duration[task]
            for follower in followers[task]:
                waiting[follower] -= 1
                if waiting[follower] == 0:
                    active.append(resource[follower])
    stuck = [queue[0] for queue in queues.values() if queue]
    if stuck:
        names = ", ".join(program.label(t) for t in stuck[:5])
        raise BadInput(f"program: tasks wait for each other and none can start: {names}")
    return Timeline(program=program, start_ps=np.array(start, np.int64), end_ps=np.array(end, np.int64))
