"""Do graphs hold what transformers builds and runs? Needs torch and transformers, and skips without them.

Exact on both sides: parameters of the module on the meta device; flop by torch's own counter, on the CPU, with eager
attention, which computes masked scores too, as our count does.
"""

import copy
from typing import Any

import pytest

from aisys.ir import Graph, verify
from aisys.workload import published, read
from aisys.workload.published import list_workloads

torch = pytest.importorskip("torch", reason="torch is not installed; pip install torch transformers")
transformers = pytest.importorskip("transformers", reason="transformers is not installed; pip install transformers")

GQA = {
    "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 96, "vocab_size": 160, "max_position_embeddings": 256,
}  # fmt: skip
GPT = {"n_embd": 64, "n_layer": 3, "n_head": 4, "vocab_size": 160, "n_positions": 64}
LATENT = {
    **GQA, "num_key_value_heads": 4, "kv_lora_rank": 24, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8,
    "v_head_dim": 12, "n_routed_experts": 4, "n_shared_experts": 2, "num_experts_per_tok": 2, "n_group": 1,
    "topk_group": 1, "moe_intermediate_size": 40, "first_k_dense_replace": 1,
}  # fmt: skip
BERT = {
    "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96, "vocab_size": 160,
    "max_position_embeddings": 64,
}  # fmt: skip
VIT = {
    "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip

CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {**GQA, "model_type": "llama"},
    "llama with biases and wide heads": {
        **GQA, "model_type": "llama", "attention_bias": True, "mlp_bias": True, "head_dim": 32,
        "tie_word_embeddings": True,
    },
    "mistral with a window": {**GQA, "model_type": "mistral", "sliding_window": 16},
    "qwen2": {**GQA, "model_type": "qwen2", "tie_word_embeddings": True},
    "qwen3": {**GQA, "model_type": "qwen3", "head_dim": 32},
    "qwen3 with biases": {**GQA, "model_type": "qwen3", "head_dim": 16, "attention_bias": True},
    "gemma": {**GQA, "model_type": "gemma", "head_dim": 32},
    "gemma2": {**GQA, "model_type": "gemma2", "head_dim": 32, "sliding_window": 16},
    "gemma3_text": {
        **GQA, "model_type": "gemma3_text", "head_dim": 32, "sliding_window": 16, "sliding_window_pattern": 2,
    },
    "phi3": {**GQA, "model_type": "phi3", "pad_token_id": 0},
    "nemotron": {**GQA, "model_type": "nemotron"},
    "nemotron with biases": {**GQA, "model_type": "nemotron", "attention_bias": True, "mlp_bias": True},
    "starcoder2": {**GQA, "model_type": "starcoder2"},
    "gpt2": {**GPT, "model_type": "gpt2"},
    "gpt2 with a narrow MLP": {**GPT, "model_type": "gpt2", "n_inner": 80, "tie_word_embeddings": False},
    "gpt_neox": {**BERT, "model_type": "gpt_neox"},
    "gpt_neox in sequence": {**BERT, "model_type": "gpt_neox", "use_parallel_residual": False, "attention_bias": False},
    "opt": {
        "model_type": "opt", "hidden_size": 64, "word_embed_proj_dim": 64, "num_hidden_layers": 3, "ffn_dim": 96,
        "num_attention_heads": 4, "vocab_size": 160, "max_position_embeddings": 64,
    },
    "opt with norms after": {
        "model_type": "opt", "hidden_size": 64, "word_embed_proj_dim": 64, "num_hidden_layers": 3, "ffn_dim": 96,
        "num_attention_heads": 4, "vocab_size": 160, "max_position_embeddings": 64, "do_layer_norm_before": False,
    },
    "bert": {**BERT, "model_type": "bert", "architectures": ["BertModel"]},
    "bert for masked tokens": {**BERT, "model_type": "bert", "architectures": ["BertForMaskedLM"]},
    "vit": {**VIT, "model_type": "vit", "architectures": ["ViTModel"]},
    "vit classifier": {
        **VIT, "model_type": "vit", "architectures": ["ViTForImageClassification"], "num_labels": 7, "qkv_bias": False,
    },
    "mixtral": {**GQA, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": {
        **GQA, "model_type": "qwen2_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 40,
        "shared_expert_intermediate_size": 48, "decoder_sparse_step": 2,
    },
    "qwen3_moe": {
        **GQA, "model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 40,
        "head_dim": 32, "mlp_only_layers": [1],
    },
    "gpt_oss": {
        **GQA, "model_type": "gpt_oss", "num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 32,
        "sliding_window": 16,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "deepseek_v2": {**LATENT, "model_type": "deepseek_v2", "q_lora_rank": 20},
    "deepseek_v2 with direct queries": {**LATENT, "model_type": "deepseek_v2", "q_lora_rank": None},
    "deepseek_v3": {**LATENT, "model_type": "deepseek_v3", "q_lora_rank": 20},
}  # fmt: skip

DECODERS = [name for name in CONFIGS if not name.startswith(("bert", "vit", "deepseek"))]
"""Those whose decode step transformers computes as we count it: it expands the latent cache, we absorb."""
NO_HUGGING_FACE_CODE = ("grok-1", "resnet18", "resnet50", "alexnet", "vgg16", "mobilenet-v1", "mobilenet-v2")
SAME_CODE_AS = {"kimi_k2": "deepseek_v3"}


def _module(config: dict[str, Any], device: str) -> Any:
    fields = copy.deepcopy(config)
    model_type = fields.pop("model_type")
    fields.pop("torch_dtype", None)
    architecture = (fields.pop("architectures", None) or [None])[0]
    mapping = transformers.models.auto.configuration_auto.CONFIG_MAPPING
    hf_config = mapping[SAME_CODE_AS.get(model_type, model_type)](**fields)
    hf_config._attn_implementation = "eager"
    hf_config._experts_implementation = "eager"
    with torch.device(device):
        if architecture:
            module = getattr(transformers, architecture)(hf_config)
        else:
            module = transformers.AutoModelForCausalLM.from_config(hf_config, attn_implementation="eager")
    module.tie_weights()
    return module.eval()


def _matmul_flop(graph: Graph) -> int:
    return sum(
        op.flop * segment.repeat
        for segment in graph.segments
        for op in segment.block.ops
        if op.kind in ("matmul", "grouped_matmul", "attention")
    )


def _num_parameters(module: Any) -> int:
    """Parameters, and the expert-choice biases that transformers keeps as buffers and checkpoints store."""
    biases = (b.numel() for name, b in module.named_buffers() if "correction_bias" in name)
    return sum(p.numel() for p in module.parameters()) + sum(biases)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_feature_has_the_parameters_of_the_real_module(name: str) -> None:
    graph = verify(read(CONFIGS[name], tokens=None))
    assert graph.num_parameters == _num_parameters(_module(CONFIGS[name], "meta"))


@pytest.mark.parametrize("name", CONFIGS)
def test_matmul_and_attention_flop_are_what_torch_counts(name: str) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    batch, config = 2, CONFIGS[name]
    graph = read(config, batch=batch, tokens=None if config["model_type"] == "vit" else 24)
    tokens = graph.attributes["tokens"]
    inputs = torch.rand(batch, 3, 32, 32) if config["model_type"] == "vit" else torch.ones(batch, tokens, dtype=int)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        _module(config, "cpu")(inputs)
    assert _matmul_flop(graph) == counter.get_total_flops()


@pytest.mark.parametrize("name", DECODERS)
def test_decode_flop_are_what_torch_counts_on_a_filled_cache(name: str) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    module, cached = _module(CONFIGS[name], "cpu"), 30
    with torch.no_grad():
        past = module(torch.ones(2, cached, dtype=int), use_cache=True).past_key_values
        with FlopCounterMode(display=False) as counter:
            module(torch.ones(2, 1, dtype=int), past_key_values=past, use_cache=True)
    graph = verify(read(CONFIGS[name], batch=2, tokens=1, cached_tokens=cached))
    assert _matmul_flop(graph) == counter.get_total_flops()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in list_workloads() if name not in NO_HUGGING_FACE_CODE])
def test_published_configurations_have_the_parameters_of_the_real_module(name: str) -> None:
    assert read(name).num_parameters == _num_parameters(_module(dict(published(name).config), "meta"))
