"""Do the laws of graphs hold for every configuration, batch and length?"""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisys.ir import Graph, Segment, kernels, verify
from aisys.workload import read, read_hf_config

DENSE = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "phi3", "nemotron", "starcoder2")
EXPERTS = ("mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss", "grok-1")
LATENT = ("deepseek_v2", "deepseek_v3")


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """Small decoders of every family, with every feature on and off."""
    kv_heads, group, width = draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([1, 2, 4])), 8
    heads = kv_heads * group
    return {
        "model_type": draw(st.sampled_from(DENSE + EXPERTS + LATENT)), "hidden_size": heads * width,
        "num_hidden_layers": draw(st.integers(1, 6)), "num_attention_heads": heads, "num_key_value_heads": kv_heads,
        "head_dim": draw(st.sampled_from([None, 4, 16])), "intermediate_size": draw(st.integers(1, 50)),
        "vocab_size": draw(st.integers(1, 99)), "tie_word_embeddings": draw(st.booleans()),
        "attention_bias": draw(st.booleans()), "mlp_bias": draw(st.booleans()),
        "sliding_window": draw(st.sampled_from([None, 1, 5])), "use_sliding_window": draw(st.booleans()),
        "max_window_layers": draw(st.integers(0, 4)), "resid_pdrop": draw(st.sampled_from([0.0, 0.1])),
        "num_experts": 6, "num_experts_per_tok": draw(st.integers(1, 6)),
        "moe_intermediate_size": draw(st.integers(1, 50)), "shared_expert_intermediate_size": 7,
        "decoder_sparse_step": draw(st.integers(1, 3)), "q_lora_rank": draw(st.sampled_from([None, 5])),
        "kv_lora_rank": 9, "qk_nope_head_dim": 4, "qk_rope_head_dim": 2, "v_head_dim": 3,
        "n_shared_experts": draw(st.integers(0, 2)), "first_k_dense_replace": draw(st.integers(0, 3)),
    }  # fmt: skip


def matmul_flop(graph: Graph) -> int:
    kinds = ("matmul", "grouped_matmul")
    return sum(op.flop * s.repeat for s in graph.segments for op in s.block.ops if op.kind in kinds)


def attention_flop(graph: Graph) -> int:
    return sum(op.flop * s.repeat for s in graph.segments for op in s.block.ops if op.kind == "attention")


@settings(max_examples=150, deadline=None)
@given(config=configurations(), batch=st.integers(1, 5), tokens=st.integers(1, 9), cached=st.integers(0, 9))
def test_every_graph_verifies_and_every_op_has_a_row(
    config: dict[str, Any], batch: int, tokens: int, cached: int
) -> None:
    graph = verify(read_hf_config(config, batch=batch, tokens=tokens, cached_tokens=cached))
    for block in graph.blocks:
        assert sum(len(kernel.ops) for kernel in kernels(block.ops, block.tensors)) == sum(
            op.kind != "view" for op in block.ops
        )


@settings(max_examples=60, deadline=None)
@given(config=configurations(), tokens=st.integers(1, 9))
def test_matmul_flop_scales_with_tokens_and_attention_with_their_square(config: dict[str, Any], tokens: int) -> None:
    once, twice = (read_hf_config(config, tokens=n * tokens) for n in (1, 2))
    assert matmul_flop(twice) == 2 * matmul_flop(once)
    assert attention_flop(twice) == 4 * attention_flop(once)
    assert matmul_flop(read_hf_config(config, tokens=tokens, batch=3)) == 3 * matmul_flop(once)


@settings(max_examples=60, deadline=None)
@given(config=configurations(), cut=st.integers(1, 5))
def test_splitting_segments_changes_nothing(config: dict[str, Any], cut: int) -> None:
    graph = read_hf_config(config, tokens=4)
    parts = [
        Segment(s.block, repeat)
        for s in graph.segments
        for repeat in (min(cut, s.repeat), s.repeat - cut)
        if repeat > 0
    ]
    split = replace(graph, segments=tuple(parts))
    assert split.digest == graph.digest
    assert (split.flop, split.num_parameters) == (graph.flop, graph.num_parameters)


@settings(max_examples=60, deadline=None)
@given(config=configurations(), tokens=st.integers(1, 9), cached=st.integers(1, 9))
def test_the_run_changes_no_parameter(config: dict[str, Any], tokens: int, cached: int) -> None:
    decode = read_hf_config(config, tokens=tokens, cached_tokens=cached)
    assert decode.num_parameters == read_hf_config(config, tokens=tokens, batch=2).num_parameters


@settings(max_examples=60, deadline=None)
@given(config=configurations(), tokens=st.integers(1, 6), cached=st.integers(1, 6))
def test_a_prompt_in_two_chunks_costs_no_more_attention_than_at_once(
    config: dict[str, Any], tokens: int, cached: int
) -> None:
    if config["model_type"] in LATENT:
        return  # absorbed heads are wider: decode trades flop for bytes
    whole = read_hf_config(config, tokens=cached + tokens)
    chunks = (read_hf_config(config, tokens=cached), read_hf_config(config, tokens=tokens, cached_tokens=cached))
    assert sum(map(matmul_flop, chunks)) == matmul_flop(whole)
    assert sum(map(attention_flop, chunks)) <= attention_flop(whole)


@pytest.mark.parametrize("name", ["llama-3.1-8b", "gpt2", "deepseek-v3", "gpt-oss-20b", "bert-base", "vit-b"])
def test_the_residual_stream_passes_every_layer_under_one_name(name: str) -> None:
    embedding, *layers, head = read(name, batch=2).layers
    for before, after in zip([embedding, *layers], [*layers, head], strict=True):
        assert (before.outputs, after.inputs) == (("y",), ("x",))
        assert tuple(after.tensors["x"].axes) == ("batch", "token", "hidden")


def test_a_model_is_drawn_once_however_deep_it_is() -> None:
    assert len(read("llama-3.1-405b").blocks) == len(read("llama-3.1-405b", num_layers=9999).blocks) == 3
