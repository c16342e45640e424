"""Formulas of one line, worked by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisys.collective import ClosedForm
from aisys.lower.framework import Framework, framework
from aisys.lower.memory import Held, device_bytes, in_flight, state_ways, zero_level
from aisys.lower.tail import exposed, optimizer, windows
from aisys.machine import machine
from aisys.plan import PlanTable
from aisys.units import Sourced

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


def made_up(**values: float) -> Framework:
    """A framework with constants that no catalogue holds, so that each of them shows."""
    usual = framework("megatron")
    return replace(usual, **{n: Sourced(v, source="a test", kind="assumed", key=n) for n, v in values.items()})


def test_a_stage_holds_its_state_its_activations_and_what_the_allocator_adds() -> None:
    plans = PlanTable.from_columns(pipeline=2, data=4, num_microbatches=8, sharding=np.array(["none", "zero1"]))
    held = Held(
        state_bytes=np.array([[[[2.0, 0], [4, 0], [12, 0], [6, 0]], [[20.0, 0], [40, 0], [120, 0], [60, 0]]]] * 2),
        saved_bytes=np.array([[5.0, 7.0]] * 2), working_bytes=np.array([[3.0, 11.0]] * 2),
        elements=np.array([[1.0, 10.0]] * 2), has_master=False,
    )  # fmt: skip
    counts = np.array([[1, 2], [0, 3]])  # of two blocks, on two stages
    grown = made_up(activation_factor=1.5, reserved_bytes=9.0)
    whole, spread = device_bytes(plans, counts, held, grown)
    assert whole[:, :4].tolist() == [[42, 84, 252, 126], [60, 120, 360, 180]]
    assert spread[:, 2].tolist() == [252 / 4, 360 / 4]
    saved = [2 * (5 + 2 * 7), 1 * 3 * 7]  # the first stage of 1F1B holds two microbatches, the last one
    assert whole[:, 4].tolist() == [1.5 * s for s in saved]
    assert whole[:, 5].tolist() == [1.5 * 11, 1.5 * 11]
    assert whole[:, 6].tolist() == [9, 9]


def test_zero3_gathers_two_blocks_and_keeps_the_gradient_of_one() -> None:
    plans = PlanTable.from_columns(data=4, sharding="zero3")
    held = Held(
        state_bytes=np.array([[[[0.0, 0], [4, 0], [0, 0], [0, 0]]]]), saved_bytes=np.zeros((1, 1)),
        working_bytes=np.array([[100.0]]), elements=np.array([[10.0]]), has_master=False,
    )  # fmt: skip
    found = device_bytes(plans, np.array([[1]]), held, made_up(activation_factor=2.0))
    assert found[0, 0, 5] == 2 * (100 + 3 * 2 * 10 + 4)


@given(interleave=st.integers(1, 6), held=st.integers(1, 16))
def test_a_chunk_finishes_its_gradients_a_group_of_microbatches_before_the_next(interleave: int, held: int) -> None:
    found = windows(np.array([[6.0]]), np.array([[12.0]]), interleave, np.array([float(held)]))
    chunk = 1 / interleave
    assert found.forward_s[0, 0] == pytest.approx(6 * (chunk + held * (interleave - 1) * chunk))
    assert found.backward_s[0, 0] == pytest.approx(12 * (chunk + held * (interleave - 1) * chunk))


def test_communication_hides_under_a_window_as_far_as_it_may() -> None:
    taken = exposed(np.array([10.0, 10.0, 10.0]), np.array([0.0, 3.0, 100.0]), 0.8)
    assert taken.tolist() == [10, 7, 2]


def test_an_update_reads_and_writes_its_bytes_once_and_takes_the_fixed_time_of_a_step() -> None:
    moved = np.array([[[16e9, 14e9]]])
    on = machine("dgx-h100")
    found = optimizer(on, made_up(step_s=0.5), moved, "limit")[0][0, 0] - 0.5
    assert found == pytest.approx(30e9 / on.device.main_memory.bandwidth_bytes_per_s, rel=0.01)  # less what L2 holds
