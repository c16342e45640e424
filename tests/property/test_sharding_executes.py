"""Training graphs and their shardings really run: what is priced computes the right numbers, and nothing is missing.

Every comparison is in double precision against one device; see `aisys.testing.execution.check` for the tolerances.
"""

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aisys.errors import CannotApply, InvalidGraph
from aisys.ir import Graph, Op, kept_for_backward, verify
from aisys.plan import Degrees, Transfer, shard
from aisys.technique.eager_attention import EagerAttention
from aisys.technique.eager_loss import EagerLoss
from aisys.technique.kernel_fusion import KernelFusion
from aisys.technique.number_format import NumberFormat
from aisys.technique.recompute import Recompute
from aisys.technique.serving_format import ServingFormat
from aisys.technique.training_step import TrainingStep
from aisys.testing import (
    ContractBroken,
    check_gradients,
    check_kept,
    check_sharding_executes,
    check_technique_executes,
)
from aisys.testing.execution import mesh
from aisys.testing.execution.small import MODELS, SERVED, attention, gpt, model, moe

TRAIN = TrainingStep().apply
MODES, FORMATS = ("none", "selective", "op", "full"), ("bf16", "fp8")


@cache
def training(name: str, is_eager: bool = False) -> Graph:
    graph = MODELS[name]()
    return TRAIN(EagerAttention().apply(graph) if is_eager else graph)


def degrees(tensor=1, sequence=False, context=1, expert=1) -> Degrees:
    """Degrees for two sequences."""
    return Degrees(
        tensor=tensor, sequence_parallel=sequence, context=context, expert=expert, micro_batch=2 // expert
    )  # fmt: skip


cuts = st.builds(
    degrees, st.sampled_from([1, 2, 4]), st.booleans(), st.sampled_from([1, 2]), st.sampled_from([1, 2])
).filter(lambda d: d.tensor * d.context * d.expert > 1 and d.tensor * d.context <= 4)


def cut_of(name: str, one: Degrees) -> Degrees:
    """The same cut, without experts where the model has none."""
    return one if "mixture" in name else replace(one, expert=1, micro_batch=2)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_the_rules_are_the_slopes_of_the_loss(name):
    check_gradients(training(name))


@pytest.mark.parametrize("name", MODELS)
def test_backward_needs_what_is_kept_and_nothing_else(name):
    check_kept(training(name))
    for block in training(name).blocks:
        assert set(block.saved) == set(kept_for_backward(block))


@pytest.mark.parametrize("name", ["llama", "gpt", "mixture", "latent"])
@pytest.mark.parametrize("number_format", FORMATS)
@pytest.mark.parametrize("mode", MODES)
def test_recomputation_in_every_format_gives_the_same_from_what_it_keeps(name, number_format, mode):
    def apply(graph: Graph) -> Graph:
        return Recompute(mode=mode).apply(NumberFormat(precision=number_format).apply(graph))

    check_technique_executes(apply, training(name))


@pytest.mark.parametrize("name", MODELS)
def test_attention_as_separate_kernels_computes_what_the_fused_one_does(name):
    check_technique_executes(EagerAttention().apply, MODELS[name]())
    fused, eager = training(name), training(name, is_eager=True)
    check_technique_executes(lambda graph: eager, fused)


@pytest.mark.parametrize("name", ["llama", "gpt", "softcaps"])
def test_the_loss_as_separate_kernels_computes_what_the_fused_one_does(name):
    cut = [degrees(2), degrees(4, sequence=True), degrees(2, sequence=True, context=2)]
    check_technique_executes(EagerLoss().apply, training(name), degrees=cut)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(sorted(MODELS)), one=cuts, mode=st.sampled_from(MODES), number_format=st.sampled_from(FORMATS),
    is_eager=st.booleans(), then=st.sampled_from([(), (KernelFusion(),), (EagerLoss(),)]),
)  # fmt: skip
def test_all_ranks_together_compute_what_one_device_does(name, one, mode, number_format, is_eager, then):
    graph = NumberFormat(precision=number_format).apply(training(name, is_eager))
    for technique in (Recompute(mode=mode), *then):
        graph = technique.apply(graph)
    check_sharding_executes(graph, cut_of(name, one))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("sequence", [False, True])
def test_four_tensor_ranks_compute_what_one_device_does(name, sequence):
    check_sharding_executes(training(name), degrees(4, sequence))


@pytest.mark.parametrize("name", SERVED)
@pytest.mark.parametrize("serving", [
    ServingFormat(), ServingFormat(weights="int4", kv_cache="fp8"), ServingFormat(weights="fp8", activations="fp8")
])  # fmt: skip
def test_served_models_compute_the_same_on_every_rank_and_in_every_format(name, serving):
    cut = [degrees(2), degrees(4), *([degrees(expert=2)] if "mixture" in name else [])]
    check_technique_executes(lambda graph: KernelFusion().apply(serving.apply(graph)), SERVED[name](), degrees=cut)


@pytest.mark.parametrize(("name", "one"), [
    ("llama", degrees(2)), ("llama", degrees(2, sequence=True)), ("one key head", degrees(4, sequence=True)),
    ("gpt", degrees(2, sequence=True, context=2)), ("qk norm", degrees(4)),
    ("mixture", degrees(2, sequence=True)), ("mixture", degrees(2, expert=2)), ("latent", degrees(2, sequence=True)),
])  # fmt: skip
def test_without_any_one_of_its_transfers_a_sharding_is_wrong(name, one, monkeypatch):
    graph = training(name)
    for block in graph.blocks:
        whole = shard(block, one)
        for step in (s for s in whole.steps if isinstance(s, Transfer)):
            less = replace(whole, steps=tuple(s for s in whole.steps if s is not step))
            monkeypatch.setattr(mesh, "shard", lambda b, d, block=block, less=less: less if b == block else shard(b, d))
            with pytest.raises(ContractBroken):
                check_sharding_executes(graph, one)


@settings(deadline=None, max_examples=40)
@given(name=st.sampled_from(sorted(MODELS)), one=cuts)
def test_flop_of_products_are_conserved_over_ranks(name, one):
    one = cut_of(name, one)
    for block in training(name).blocks:
        local = {s.name: s for s in shard(block, one).steps if isinstance(s, Op)}
        for op in block.ops:
            if op.kind not in ("matmul", "grouped_matmul"):
                continue
            ranks = one.tensor * one.context * one.expert
            copies = _copies(op, block, one)
            assert local[op.name].flop * ranks == op.flop * copies, op.name


def _copies(op, block, one):
    """How many tensor ranks run the same: all that share a key head, or all where nothing is spread."""
    axes = {axis for name in (*op.reads, *op.writes) for axis in block.tensors[name].axes} | set(op.space)
    if "kv_head" in axes and "head" not in axes:
        return max(1, one.tensor // op.space["kv_head"])
    if axes & {"head", "ffn", "vocab", "expert_ffn"} or one.sequence_parallel:
        return 1
    return one.tensor


@pytest.mark.parametrize("window", [0, 3])
def test_context_ranks_share_the_visible_pairs_of_causal_attention(window):
    graph = model(attention(window=window), extent=(2, 64, 0))
    block = graph.blocks[1]
    op = next(op for op in block.ops if op.kind == "attention")
    pairs = sum(min(i + 1, window or 64) for i in range(64))
    for context in (2, 4):
        local = next(s for s in shard(block, degrees(context=context)).steps if isinstance(s, Op) and s.name == op.name)
        assert context * local.space["token"] * local.space["key"] == pytest.approx(pairs, abs=64)


@pytest.mark.parametrize("name", MODELS)
def test_degrees_of_one_change_nothing(name):
    for block in training(name).blocks:
        sharded = shard(block, degrees())
        assert sharded.steps == block.ops
        assert sum(sharded.elements.values()) == sum(t.num_elements for t in block.tensors_of("weight"))


def test_a_router_scores_every_expert_on_every_rank():
    block = TRAIN(moe()).blocks[1]
    sharded = shard(block, degrees(expert=2))
    local = {s.name: s.space for s in sharded.steps if isinstance(s, Op)}
    assert local["router_logits"]["expert"] == 4
    assert local["expert_up"]["expert"] == 2
    assert sharded.elements["expert"] == 2 * (3 * 8 * 8 + 2 * 8 + 8)


def test_key_heads_that_do_not_fit_the_tensor_ranks_are_refused():
    core = attention(heads=12, kv_heads=3)
    with pytest.raises(CannotApply, match="axis 'kv_head'"):
        shard(model(core).blocks[1], degrees(4))


@pytest.mark.parametrize("break_it", [
    lambda block: replace(block, saved=block.saved[1:]),
    lambda block: replace(block, saved=(*block.saved, "mlp_out")),
    lambda block: replace(block, ops=tuple(op for op in block.ops if op.name != "d.x_middle.sum")),
    lambda block: replace(block, ops=tuple(
        replace(op, options={"function": "relu"}) if op.name == "active" else op for op in block.ops
    )),
])  # fmt: skip
def test_a_technique_that_computes_something_else_is_found(break_it):
    graph = training("llama")
    with pytest.raises(ContractBroken):
        check_technique_executes(lambda g: g.map_blocks({b: break_it(b) if b.name == "layer" else b for b in g.blocks}),
                                 graph)  # fmt: skip


def test_a_graph_that_does_not_save_what_its_backward_reads_is_refused():
    graph = training("llama")
    forgetful = {b: replace(b, saved=b.saved[1:]) for b in graph.blocks}
    with pytest.raises(InvalidGraph, match="does not save it"):
        verify(graph.map_blocks(forgetful))


def test_a_tied_embedding_gets_the_gradients_of_both_its_uses():
    graph = TRAIN(gpt())
    check_gradients(graph)
    check_sharding_executes(graph, degrees(2, sequence=True))
