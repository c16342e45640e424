"""Groups of ranks fit their machine; what a report lists adds up to what was priced; power stays between its bounds."""

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisys.lower.blocks import CATEGORIES, COMPUTE
from aisys.machine.load import machine
from aisys.plan import Plan, PlanTable
from aisys.plan.groups import groups
from aisys.search import Method, Serving, evaluate, evaluate_many
from aisys.search.op_lines import op_lines
from aisys.search.question import ask, shop
from aisys.technique.pipeline_parallel import PipelineParallel
from aisys.technique.training_step import TrainingStep
from aisys.workload import read

NODES = machine("dgx-h100*8")
GRAPH = read("llama-3.1-8b", batch=32, tokens=2048)
TRAIN = [TrainingStep()]


@given(
    tensor=st.sampled_from([1, 2, 4, 8]), context=st.sampled_from([1, 2, 4]), data=st.sampled_from([1, 2, 4, 8]),
    expert=st.sampled_from([1, 2, 4, 8]), pipeline=st.sampled_from([1, 2]),
)  # fmt: skip
def test_every_group_has_its_ranks_and_no_more_than_a_node_inside_one(tensor, context, data, expert, pipeline):
    if data % expert or tensor * context * data * pipeline > 64:
        return
    plan = Plan(tensor=tensor, context=context, data=data, expert=expert, pipeline=pipeline)
    found = groups(plan, NODES)
    wanted = {
        "tensor": tensor, "context": context, "data": data, "pipeline": pipeline, "expert": expert,
        "model_state": data * context, "expert_data": data * context // expert,
    }  # fmt: skip
    assert {axis: group.size for axis, group in found.items()} == wanted
    for group in found.values():
        assert prod(n for _, n in group.members) == group.size
        assert group.members[0][1] <= 8
        assert group.sharing * group.members[0][1] <= 8 or group.sharing == 1


@pytest.mark.parametrize("pipeline", [1, 2, 8])
@pytest.mark.parametrize("recompute", ["none", "full"])
def test_mean_power_stays_between_idle_and_the_board_limit(pipeline, recompute):
    node = machine("dgx-h100")
    plan = Plan(pipeline=pipeline, data=8 // pipeline, num_microbatches=4 * pipeline, recompute=recompute)
    steps = evaluate_many(GRAPH, node, PlanTable.of([plan]), techniques=TRAIN)
    watt = float(steps.energy_joule[0]) / float(steps.time_s[0]) / 8
    assert float(node.device.idle_watt) < watt < float(node.device.max_watt)


@settings(deadline=None, max_examples=8)
@given(
    tensor=st.sampled_from([1, 4]), recompute=st.sampled_from(["none", "op", "full"]),
    precision=st.sampled_from(["bf16", "fp8"]), framework=st.sampled_from(["megatron", "torchtitan"]),
)  # fmt: skip
def test_the_listed_kernels_take_as_long_as_those_that_were_priced(tensor, recompute, precision, framework):
    plan = Plan(
        tensor=tensor, data=8 // tensor, num_microbatches=32 * tensor // 8, sequence_parallel=tensor > 1,
        recompute=recompute, precision=precision,
    )  # fmt: skip
    question = ask(GRAPH, machine("dgx-h100"), TRAIN, Method(framework=framework))
    priced = shop(question)
    share = priced.known[int(priced.indices(PlanTable.of([plan]))[0])]
    repeat = np.array([1, 32, 1])
    listed = [line for line in op_lines(question.setting, plan) if line.kind in COMPUTE]
    for kind in COMPUTE:
        ours = sum(line.time_s * line.repeat for line in listed if line.kind == kind)
        assert ours == pytest.approx(float(share.time_s[:, :, CATEGORIES.index(kind)].sum(1) @ repeat), rel=1e-9)


def test_a_batch_that_walks_through_a_pipeline_gives_its_tokens_once_per_step():
    asked = Serving(
        read("llama-3.1-8b", batch=8, tokens=512), read("llama-3.1-8b", batch=8, tokens=1, cached_tokens=512)
    )
    report = evaluate(asked, machine("dgx-h100"), techniques=[PipelineParallel(2)])
    assert report.throughput_per_s * report.metrics["tpot_s"] == pytest.approx(8)
    assert report.usd_per_million > 0
