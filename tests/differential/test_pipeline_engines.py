"""Every engine and the sweep give the same picoseconds for the same pipeline."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from aisys.lower import recurrence
from aisys.lower.pipeline import PipelineTimes, program
from aisys.lower.sweep import makespans
from aisys.sim.compiled import run_compiled
from aisys.sim.engine import run_reference


def _times(draw_ints, p, m, v, name):
    rng = np.random.default_rng(draw_ints)
    stage = [rng.integers(0, 1000, p * v) for _ in range(5)]
    tail = [rng.integers(0, 1000, p) for _ in range(2)]
    return PipelineTimes(
        num_stages=p, num_microbatches=m, schedule=name, forward_ps=stage[0], backward_ps=stage[1],
        send_forward_ps=stage[2], send_backward_ps=stage[2], saved_bytes=stage[4],
        gradients_ps=tail[0], optimizer_ps=tail[1],
    )  # fmt: skip


shapes = st.tuples(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 5), st.integers(1, 3))


@settings(deadline=None, max_examples=60)
@given(shape=shapes, name=st.sampled_from(["1f1b", "gpipe"]))
def test_reference_compiled_and_sweep_agree_to_the_picosecond(shape, name):
    seed, p, groups, v = shape
    times = _times(seed, p, groups * p, v, name)
    made = program(times)
    slow, fast = run_reference(made), run_compiled(made)
    assert (slow.start_ps == fast.start_ps).all()
    assert (slow.end_ps == fast.end_ps).all()
    swept = makespans(
        (name, p, groups * p, v), times.forward_ps[None], times.backward_ps[None], times.send_forward_ps[None],
        (times.gradients_ps[None], times.optimizer_ps[None]),
    )  # fmt: skip
    stepped = recurrence.makespans(
        (name, p, groups * p, v), times.forward_ps[None], times.backward_ps[None], times.send_forward_ps[None],
        (times.gradients_ps[None], times.optimizer_ps[None]),
    )  # fmt: skip
    assert swept.tolist() == [slow.makespan_ps] == stepped.tolist()


@settings(deadline=None, max_examples=40)
@given(p=st.integers(1, 8), extra=st.integers(0, 12), f=st.integers(1, 50), b=st.integers(1, 50))
def test_uniform_1f1b_is_the_closed_form(p, extra, f, b):
    m = p + extra
    zero, tail = np.zeros(p, np.int64), np.zeros(p, np.int64)
    times = PipelineTimes(
        num_stages=p, num_microbatches=m, schedule="1f1b", forward_ps=np.full(p, f), backward_ps=np.full(p, b),
        send_forward_ps=zero, send_backward_ps=zero, saved_bytes=np.full(p, 7), gradients_ps=tail, optimizer_ps=tail,
    )  # fmt: skip
    timeline = run_reference(program(times))
    assert timeline.makespan_ps == (m + p - 1) * (f + b)
    assert timeline.peak_bytes(p).tolist() == [7 * min(m, p - s) for s in range(p)]


@settings(deadline=None, max_examples=30)
@given(p=st.integers(2, 6), groups=st.integers(1, 4), v=st.integers(1, 4), f=st.integers(1, 50))
def test_interleaving_divides_the_bubble_by_the_number_of_chunks(p, groups, v, f):
    m, n = groups * p, p * v
    times = PipelineTimes(
        num_stages=p, num_microbatches=m, schedule="1f1b", forward_ps=np.full(n, f), backward_ps=np.full(n, 2 * f),
        send_forward_ps=np.zeros(n, np.int64), send_backward_ps=np.zeros(n, np.int64), saved_bytes=np.ones(n, np.int64),
        gradients_ps=np.zeros(p, np.int64), optimizer_ps=np.zeros(p, np.int64),
    )  # fmt: skip
    assert run_reference(program(times)).makespan_ps == (m * v + p - 1) * 3 * f


@settings(deadline=None, max_examples=20)
@given(shape=shapes, plans=st.integers(1, 70))
def test_plans_that_are_swept_side_by_side_do_not_touch_each_other(shape, plans):
    seed, p, groups, v = shape
    rng = np.random.default_rng(seed)
    forward, backward, send = (rng.integers(0, 1000, (plans, p * v)) for _ in range(3))
    tails = rng.integers(0, 1000, (plans, p)), rng.integers(0, 1000, (plans, p))
    together = makespans(("1f1b", p, groups * p, v), forward, backward, send, tails)
    for i in range(plans):
        row = slice(i, i + 1)
        alone = makespans(
            ("1f1b", p, groups * p, v), forward[row], backward[row], send[row], (tails[0][row], tails[1][row])
        )
        assert alone[0] == together[i]
