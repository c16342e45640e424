"""Laws of plans: one row equals many, more bandwidth is never slower, memory equals what the timeline holds."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisys.errors import AisysError, BadInput, DoesNotFit, UnknownName
from aisys.frozen import FrozenMap
from aisys.lower import memory
from aisys.lower.step import timeline
from aisys.machine.load import machine
from aisys.plan import Plan, PlanTable
from aisys.plan.space import PlanSpace, WorkloadShape, training_plans, workload_shape
from aisys.plan.stages import block_counts, layer_ranges
from aisys.search import Method, Serving, Watch, evaluate, evaluate_many, search
from aisys.search.pareto import pareto
from aisys.search.question import ask, shop
from aisys.search.store import Store
from aisys.technique.pipeline_parallel import PipelineParallel
from aisys.technique.tensor_parallel import TensorParallel
from aisys.technique.training_step import TrainingStep
from aisys.units import Sourced
from aisys.workload import read

NODE = machine("dgx-h100")
GRAPH = read("llama-3.1-8b", batch=32, tokens=2048)
TRAIN = [TrainingStep()]

plans = st.builds(
    lambda t, p, mb, r, z, v: Plan(
        tensor=t, pipeline=p, data=8 // (t * p), micro_batch=mb, num_microbatches=32 // (8 // (t * p)) // mb,
        recompute=r, sharding=z, interleave=v if p > 1 else 1, sequence_parallel=t > 1,
    ),
    st.sampled_from([1, 2]), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2]),
    st.sampled_from(["none", "selective", "op", "full"]), st.sampled_from(["none", "zero1", "zero2", "zero3"]),
    st.sampled_from([1, 2]),
)  # fmt: skip


@settings(deadline=None, max_examples=20)
@given(chosen=st.lists(plans, min_size=2, max_size=5))
def test_every_plan_of_a_table_is_priced_as_if_it_were_alone(chosen):
    together = evaluate_many(GRAPH, NODE, PlanTable.of(chosen), techniques=TRAIN)
    for i, plan in enumerate(chosen):
        alone = evaluate(GRAPH, NODE, techniques=TRAIN, plan=plan)
        assert alone.time_s == together.time_s[i]
        assert alone.peak_memory_bytes == together.peak_memory_bytes[i]
        assert alone.energy_joule == together.energy_joule[i]
        assert alone.timeline is not None
        assert alone.timeline.makespan_ps == round(alone.time_s * 1e12)


@settings(deadline=None, max_examples=15)
@given(plan=plans)
def test_the_breakdown_of_a_report_sums_to_its_time(plan):
    report = evaluate(GRAPH, NODE, techniques=TRAIN, plan=plan)
    assert sum(report.breakdown_s.values()) == pytest.approx(report.time_s, rel=1e-6)
    assert sum(report.memory_bytes.values()) == pytest.approx(report.peak_memory_bytes)
    assert report.low_s <= report.time_s <= report.high_s


def _faster(machine_of, factor):
    links = {
        tier: replace(link, bandwidth_bytes_per_s=_scaled(link.bandwidth_bytes_per_s, factor))
        for tier, link in machine_of.links.items()
    }
    device = machine_of.device
    main = device.main_memory
    wide = replace(main, bandwidth_bytes_per_s=_scaled(main.bandwidth_bytes_per_s, factor))
    device = replace(device, memories=FrozenMap({**device.memories, main.name: wide}))
    return replace(machine_of, links=FrozenMap(links), device=device)


def _scaled(number, factor):
    return Sourced(number * factor, source="scaled by a test", kind="assumed", key=number.key)


@settings(deadline=None, max_examples=10)
@given(plan=plans, factor=st.floats(1.0, 4.0))
def test_more_bandwidth_is_never_slower(plan, factor):
    base = evaluate_many(GRAPH, NODE, PlanTable.of([plan]), techniques=TRAIN)
    wide = evaluate_many(GRAPH, _faster(NODE, factor), PlanTable.of([plan]), techniques=TRAIN)
    assert wide.time_s[0] <= base.time_s[0] * (1 + 1e-9)


@settings(deadline=None, max_examples=12)
@given(plan=plans.filter(lambda p: p.interleave == 1))
def test_activation_memory_is_what_the_timeline_holds(plan):
    question = ask(GRAPH, NODE, TRAIN, Method())
    priced = shop(question)
    try:
        made, stages = timeline(priced, plan)
    except AisysError:
        return
    factor = float(question.framework.activation_factor)
    held = stages.memory_bytes[0, :, memory.PARTS.index("activations")] / factor
    assert made.peak_bytes(plan.pipeline) == pytest.approx(held, rel=1e-6)


@given(layers=st.integers(1, 200), stages=st.integers(1, 64))
def test_layers_are_spread_evenly_with_the_larger_stages_first(layers, stages):
    if stages > layers:
        return
    ranges = layer_ranges(layers, stages)
    sizes = [end - start for start, end in ranges]
    assert sum(sizes) == layers
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes) - min(sizes) <= 1


@given(stages=st.sampled_from([1, 2, 3, 4, 5, 8, 16, 17, 34]))
def test_every_layer_stands_on_exactly_one_stage(stages):
    counts = block_counts(GRAPH, stages)
    assert counts.sum(0).tolist() == [1, 32, 1]
    assert (counts[:, 0] > 0).tolist() == [True] + [False] * (stages - 1)


def test_every_plan_of_the_space_uses_all_devices_and_the_whole_batch():
    table = training_plans(PlanSpace(), machine("dgx-h100*2"), WorkloadShape(batch=96, tokens=2048, num_layers=32))
    assert len(table) > 100
    for plan in table:
        assert plan.num_devices == 16
        assert plan.global_batch == 96


@given(st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=30))
def test_the_pareto_front_is_what_pairwise_comparison_gives(rows):
    values = np.array(rows, float)
    front = {tuple(values[i]) for i in pareto(values)}
    slow = {
        tuple(row) for row in values
        if not any((other <= row).all() and (other < row).any() for other in values)
    }  # fmt: skip
    assert front == slow


def test_a_search_returns_what_exhaustive_evaluation_finds_best():
    found = search(GRAPH, NODE, techniques=[*TRAIN, TensorParallel(2)], top=3)
    table = training_plans(PlanSpace().narrow(tensor=(2,), sequence_parallel=(True,)), NODE, workload_shape(GRAPH))
    steps = evaluate_many(GRAPH, NODE, table, techniques=TRAIN)
    fits = steps.peak_memory_bytes <= float(NODE.device.main_memory.capacity_bytes)
    assert found.reports[0].time_s == steps.time_s[fits].min()
    assert found.num_evaluated == len(table)


def test_what_does_not_fit_says_how_much_is_missing_and_what_would_fit():
    with pytest.raises(DoesNotFit, match=r"needs .* GB more than each h100-sxm has; dgx-h100\*\d+ .* fits"):
        search(read("llama-3.1-405b", batch=64, tokens=2048), NODE, techniques=TRAIN)


def test_techniques_that_contradict_each_other_are_refused():
    with pytest.raises(AisysError, match="tensor cannot be one of"):
        search(GRAPH, NODE, techniques=[*TRAIN, TensorParallel(2), TensorParallel(4)])


def test_offloaded_state_leaves_the_device_and_its_update_waits_for_the_host():
    kept = Plan(tensor=2, data=4, num_microbatches=8, sharding="zero1")
    moved = replace(kept, offload_optimizer=True)
    steps = evaluate_many(GRAPH, NODE, PlanTable.of([kept, moved]), techniques=TRAIN)
    state = memory.PARTS.index("optimizer_state")
    assert steps.memory_bytes[1, state] == 0 < steps.memory_bytes[0, state]
    # Source: Ren et al. 2021; 12 bytes of fp32 state per parameter, read and written once, 4 bytes of gradient read.
    elements = steps.memory_bytes[0, state] / 12
    at_host = (2 * 12 * elements + 4 * elements / 4) / (float(NODE.host.main_memory.bandwidth_bytes_per_s) / 8)
    assert steps.time_s[1] - steps.time_s[0] == pytest.approx(at_host, rel=0.2)


def test_a_plan_for_another_batch_is_refused():
    with pytest.raises(BadInput, match="the workload has 32"):
        evaluate(GRAPH, NODE, techniques=TRAIN, plan=Plan(data=8))


def test_a_forward_graph_alone_is_refused_with_what_to_add():
    with pytest.raises(BadInput, match=r"add TrainingStep"):
        evaluate(GRAPH, NODE)


def test_an_unknown_limit_is_answered_with_the_known_ones():
    with pytest.raises(UnknownName, match="time_s"):
        search(GRAPH, NODE, techniques=TRAIN, at_most={"tpot": 1.0})


def test_a_degree_that_does_not_divide_names_the_axis_and_what_would():
    steps = evaluate_many(GRAPH, NODE, PlanTable.of([Plan(tensor=3)]), techniques=TRAIN)
    assert "does not divide axis" in steps.reason[0]
    assert np.isinf(steps.time_s[0])


def test_serving_wider_tensor_groups_shorten_decode_of_a_large_model():
    asked = Serving(
        read("llama-3.1-70b", batch=8, tokens=1024), read("llama-3.1-70b", batch=8, tokens=1, cached_tokens=1024)
    )
    found = search(asked, NODE, techniques=[PipelineParallel(1)])
    by_degree = {r.plan.tensor: r.metrics["tpot_s"] for r in found.reports}
    assert by_degree[8] < by_degree[4]


def test_a_search_that_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch):
    from aisys.search import exhaustive as room

    monkeypatch.setattr(room, "BATCH_OF_PLANS", 64)
    store = Store(tmp_path / "kept.sqlite")

    def stop(done, total):
        if done >= 128:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(GRAPH, NODE, techniques=TRAIN, watch=Watch(progress=stop, store=store))
    calls = []
    real = room.evaluate_steps
    monkeypatch.setattr(room, "evaluate_steps", lambda priced, plans: calls.append(len(plans)) or real(priced, plans))
    resumed = search(GRAPH, NODE, techniques=TRAIN, watch=Watch(store=store))
    num_again = sum(calls)
    fresh = search(GRAPH, NODE, techniques=TRAIN)
    assert num_again == fresh.num_evaluated - 128 > 0
    assert [r.time_s for r in resumed.reports] == [r.time_s for r in fresh.reports]


def test_a_store_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to look like a header of one" * 10)
    with pytest.raises(BadInput, match="cannot hold results"):
        search(GRAPH, NODE, techniques=TRAIN, watch=Watch(store=Store(path)))


def test_the_steps_of_several_tables_join_in_order():
    table = PlanTable.of([Plan(data=8, num_microbatches=4), Plan(tensor=2, data=4, num_microbatches=8)])
    whole = evaluate_many(GRAPH, NODE, table, techniques=TRAIN)
    parts = [evaluate_many(GRAPH, NODE, table.take(np.array([i])), techniques=TRAIN) for i in range(2)]
    joined = type(whole).join(parts)
    for f in fields(whole):
        if f.name != "reason":
            assert np.array_equal(getattr(joined, f.name), getattr(whole, f.name))
