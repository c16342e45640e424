"""Formulas of one line, worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisys.collective import ClosedForm
from aisys.lower.memory import in_flight, state_ways, zero_level
from aisys.plan import PlanTable

counts = st.integers(1, 64)


def test_a_closed_form_is_latencies_plus_the_share_of_the_buffer_on_the_wire() -> None:
    form = ClosedForm(num_steps=14, wire_share=1.75)
    assert form.time_s(1e9, 2e-6, 450e9) == pytest.approx(14 * 2e-6 + 1.75 * 1e9 / 450e9)


@given(data=counts, context=counts, expert=counts)
def test_zero_spreads_dense_state_over_all_replicas_and_expert_state_over_those_of_one_expert(
    data: int, context: int, expert: int
) -> None:
    plans = PlanTable.from_columns(
        data=data, context=context, expert=expert, sharding=np.array(["none", "zero1", "zero2", "zero3"])
    )
    assert zero_level(plans).tolist() == [0, 1, 2, 3]
    ranks, replicas = data * context, max(1, data * context // expert)
    weight, gradient, state = (state_ways(plans)[:, role].tolist() for role in range(3))
    whole, spread = [1, 1], [ranks, replicas]
    assert weight == [whole, whole, whole, spread]
    assert gradient == [whole, whole, spread, spread]
    assert state == [whole, spread, spread, spread]


@given(stages=st.integers(1, 8), rounds=st.integers(1, 4), interleave=st.integers(1, 4))
def test_stages_hold_what_published_schedules_hold(stages: int, rounds: int, interleave: int) -> None:
    microbatches = rounds * stages
    chunks = microbatches * interleave
    assert in_flight("gpipe", stages, microbatches, interleave).tolist() == [chunks] * stages
    warmup = [
        (stages - 1 - stage) * 2 + (interleave - 1) * stages if interleave > 1 else stages - 1 - stage
        for stage in range(stages)
    ]
    expected = [min(chunks, wait + 1) for wait in warmup]
    assert in_flight("1f1b", stages, microbatches, interleave).tolist() == expected
    counted = "interleaved" if interleave > 1 else "one_f_one_b"
    assert in_flight(counted, stages, microbatches, interleave).tolist() == expected
