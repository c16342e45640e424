"""Launch arguments of other programs become plans, and plans become launch arguments."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisys.errors import AisysError, BadInput, CannotApply, UnknownName
from aisys.machine.load import machine
from aisys.plan import Plan
from aisys.plan.launch import read_launch, write_launch
from aisys.plan.space import PlanSpace, WorkloadShape, training_plans
from aisys.plan.types import CHOICES, COUNTS
from aisys.search.advise import advise
from aisys.technique.training_step import TrainingStep
from aisys.workload import read

degrees = st.sampled_from([1, 2, 3, 8])
plans = st.builds(
    Plan, **dict.fromkeys(COUNTS, degrees), **{name: st.sampled_from(known) for name, known in CHOICES.items()},
    sequence_parallel=st.booleans(), offload_optimizer=st.booleans(),
)  # fmt: skip


@settings(max_examples=300)
@given(plan=plans, program=st.sampled_from(["megatron", "torchtitan"]))
def test_arguments_of_a_plan_read_back_as_the_plan_or_are_refused(plan, program):
    try:
        text = write_launch(plan, program)
    except CannotApply:
        return
    launch = read_launch(text)
    assert launch.program == program
    assert launch.ignored == ()
    assert launch.plan(num_devices=plan.num_devices, global_batch=launch.shape["global_batch"]) == plan


@pytest.mark.parametrize(
    ("program", "decision"),
    [
        ("megatron", {"recompute": "op"}), ("megatron", {"schedule": "gpipe"}), ("megatron", {"precision": "int8"}),
        ("torchtitan", {"recompute": "selective"}), ("torchtitan", {"sharding": "zero1"}),
        ("torchtitan", {"precision": "fp16"}), ("torchtitan", {"interleave": 3}),
        ("torchtitan", {"offload_optimizer": True}), ("torchtitan", {"tensor": 2}),
        ("torchtitan", {"sequence_parallel": True}), ("torchtitan", {"schedule": "gpipe", "interleave": 2}),
        ("torchtitan", {"hardware": "staged"}), ("megatron", {"hardware": "staged"}),
    ],
)  # fmt: skip
def test_a_decision_that_a_program_cannot_be_told_is_refused_by_name(program, decision):
    with pytest.raises(CannotApply, match=rf"{program}.*({'|'.join(decision)})"):
        write_launch(Plan(**{"sharding": "zero3", **decision}), program)


def test_torchtitan_arguments_say_what_its_documentation_says():
    text = (
        "--model.name llama3 --model.flavor 70B --parallelism.tensor_parallel_degree=8 --training.local_batch_size 2 "
        "--activation_checkpoint.mode=full --training.seq_len=8192 --metrics.log_freq 10"
    )
    launch = read_launch(text)
    assert dict(launch.decided) == {
        "tensor": 8, "sharding": "zero3", "sequence_parallel": True, "recompute": "full", "schedule": "1f1b",
        "micro_batch": 2,
    }  # fmt: skip
    assert launch.shape["tokens"] == 8192
    assert launch.model == "llama3-70B"
    assert launch.ignored == ("--metrics.log_freq",)


@settings(max_examples=200)
@given(text=st.text(max_size=80))
def test_any_text_is_read_or_refused_in_one_sentence(text):
    try:
        launch = read_launch(text)
    except AisysError:
        return
    assert launch.decided or launch.shape


def test_values_that_are_not_numbers_name_their_argument():
    with pytest.raises(BadInput, match="--micro-batch-size is 'two'"):
        read_launch("--micro-batch-size two")
    with pytest.raises(UnknownName, match="nearest known: full"):
        read_launch("--recompute-granularity ful")
    with pytest.raises(BadInput, match="not a multiple of tensor x pipeline x context = 16"):
        read_launch("--tensor-model-parallel-size 16").plan(num_devices=8, global_batch=8)
    with pytest.raises(BadInput, match="use 16"):
        read_launch("--tensor-model-parallel-size 1").plan(num_devices=8, global_batch=12)


def test_advice_changes_one_decision_at_a_time_and_each_change_gains():
    graph = read("llama-3.1-8b", batch=64, tokens=4096)
    plan = Plan(tensor=8, num_microbatches=64, recompute="full", sequence_parallel=True, sharding="zero1")
    advice = advise(graph, machine("dgx-h100"), plan, techniques=[TrainingStep()])
    assert advice.best.time_s < advice.now.time_s
    assert advice.changes
    assert all(time_s < advice.now.time_s for _, time_s in advice.changes)
    assert any(change.startswith("recompute full -> none") for change, _ in advice.changes)


@pytest.mark.parametrize("text", ["--tensor-model-parallel-size 2", "--parallelism.tensor_parallel_degree=2"])
def test_a_program_is_advised_to_do_only_what_it_can_be_told(text):
    launch = read_launch(text)
    shape = WorkloadShape(batch=64, tokens=4096, num_layers=32, num_experts=4)
    plans = list(training_plans(launch.constrain(PlanSpace()), machine("dgx-h100"), shape))
    assert {plan.pipeline for plan in plans} == {1, 2, 4, 8}
    for plan in plans:
        assert read_launch(write_launch(plan, launch.program)).decided["sharding"] == plan.sharding


def test_a_decision_that_is_held_to_what_a_program_cannot_do_is_refused_before_anything_is_searched():
    with pytest.raises(CannotApply, match="recompute cannot be one of"):
        read_launch("--tensor-model-parallel-size 2").constrain(PlanSpace().narrow(recompute=["op"]))
