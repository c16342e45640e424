"""The compiled engine: the reference engine's algorithm over flat arrays."""

import numpy as np
from numba import njit

from aisys.errors import BadInput
from aisys.sim.program import Ints, Program, Timeline


def run_compiled(program: Program) -> Timeline:
    """`run_reference`, compiled. Raises BadInput naming tasks that wait for each other."""
    order = np.argsort(program.resource, kind="stable").astype(np.int64)
    counts = np.bincount(program.resource, minlength=len(program.resources))
    queue_ptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    start, end = _run(program.duration_ps, program.resource, program.after_ptr, program.after, order, queue_ptr)
    if len(end) and end.min() < 0:
        names = ", ".join(program.label(int(t)) for t in np.flatnonzero(end < 0)[:5])
        raise BadInput(f"program: tasks wait for each other and none can start: {names}")
    return Timeline(program=program, start_ps=start, end_ps=end)


@njit(cache=True)
def _run(
    duration: Ints, resource: Ints, after_ptr: Ints, after: Ints, order: Ints, queue_ptr: Ints
) -> tuple[Ints, Ints]:  # pragma: no cover
    n = len(duration)
    start, end = np.zeros(n, np.int64), np.full(n, -1, np.int64)
    waiting = after_ptr[1:] - after_ptr[:-1]
    follow_ptr = np.zeros(n + 1, np.int64)
    for before in after:
        follow_ptr[before + 1] += 1
    follow_ptr = np.cumsum(follow_ptr)
    fill, follow = follow_ptr[:-1].copy(), np.zeros(len(after), np.int64)
    for task in range(n):
        for i in range(after_ptr[task], after_ptr[task + 1]):
            follow[fill[after[i]]] = task
            fill[after[i]] += 1
    num_resources = len(queue_ptr) - 1
    head, free = queue_ptr[:-1].copy(), np.zeros(num_resources, np.int64)
    stack = np.empty(num_resources + n, np.int64)
    stack[:num_resources] = np.arange(num_resources)
    size = num_resources
    while size:
        size -= 1
        r = stack[size]
        while head[r] < queue_ptr[r + 1] and waiting[order[head[r]]] == 0:
            task = order[head[r]]
            head[r] += 1
            begin = free[r]
            for i in range(after_ptr[task], after_ptr[task + 1]):
                begin = max(begin, end[after[i]])
            start[task] = begin
            end[task] = begin + duration[task]
            free[r] = end[task]
            for i in range(follow_ptr[task], follow_ptr[task + 1]):
                waiting[follow[i]] -= 1
                if waiting[follow[i]] == 0:
                    stack[size] = resource[follow[i]]
                    size += 1
    return start, end
