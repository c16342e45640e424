"""The critical path explains the makespan: it starts at 0, has no gap, and ends with the last task."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aisys.lower.pipeline import PipelineTimes, program
from aisys.sim import Program, Timeline, run

TIMES = st.integers(0, 50)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A few tasks on a few resources, each waiting for some of those before it."""
    num_tasks, num_resources = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    after = [sorted(draw(st.sets(st.integers(0, i - 1), max_size=3))) if i else [] for i in range(num_tasks)]
    zeros = np.zeros(num_tasks, np.int64)
    return Program(
        duration_ps=np.array([draw(TIMES) for _ in range(num_tasks)], np.int64),
        resource=np.array([draw(st.integers(0, num_resources - 1)) for _ in range(num_tasks)], np.int64),
        after_ptr=np.cumsum([0, *map(len, after)]).astype(np.int64),
        after=np.array([b for row in after for b in row], np.int64), device=zeros, alloc_bytes=zeros, free_bytes=zeros,
        kind=zeros, part=zeros, kinds=("task",), resources=tuple(f"resource {i}" for i in range(num_resources)),
    )  # fmt: skip


def assert_explains_makespan(timeline: Timeline) -> None:
    path = timeline.critical_path()
    starts, ends = timeline.start_ps[path], timeline.end_ps[path]
    assert starts[0] == 0
    assert (starts[1:] == ends[:-1]).all()
    assert ends[-1] == timeline.makespan_ps


@given(programs())
def test_the_critical_path_of_any_program_has_no_gap(made: Program) -> None:
    assert_explains_makespan(run(made))


@given(st.integers(1, 5), st.integers(1, 8), TIMES, TIMES, TIMES)
def test_the_critical_path_of_a_pipeline_has_no_gap(
    num_stages: int, num_microbatches: int, forward: int, backward: int, send: int
) -> None:
    stages, ones = np.ones(num_stages, np.int64), np.ones(num_stages, np.int64)
    times = PipelineTimes(
        num_stages=num_stages, num_microbatches=num_microbatches, schedule="1f1b", forward_ps=ones * forward,
        backward_ps=ones * backward, send_forward_ps=ones * send, send_backward_ps=ones * send, saved_bytes=ones,
        gradients_ps=stages * 3, optimizer_ps=stages * 2,
    )  # fmt: skip
    assert_explains_makespan(run(program(times)))
