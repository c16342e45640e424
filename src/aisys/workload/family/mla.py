"""DeepSeek-V2 and V3 and those built like them: latent attention, shared and routed experts, first layers dense.

The multi-token-prediction module of V3 (num_nextn_predict_layers) is no part of the graph or of the parameter count.
Source: DeepSeek-V2 report 2024, DeepSeek-V3 report 2024, and their modeling files.
"""

from aisys.workload.config_file import Fields
from aisys.workload.family import fields as common
from aisys.workload.family.decoder import Traits, decoder, dense_mlp
from aisys.workload.family.moe import expert_counts
from aisys.workload.transformer import FeedForward, LatentAttention, MixtureOfExperts, Transformer

MODEL_TYPES = ("deepseek_v2", "deepseek_v3", "kimi_k2")


def read_mla(fields: Fields) -> Transformer:
    """The latent-attention decoder that these fields describe."""
    has_low_rank = fields.has("q_lora_rank")
    attention = LatentAttention(
        heads=fields.integer("num_attention_heads"), kv_rank=fields.integer("kv_lora_rank"),
        q_rank=fields.integer("q_lora_rank") if has_low_rank else 0, nope_dim=fields.integer("qk_nope_head_dim"),
        rope_dim=fields.integer("qk_rope_head_dim"), value_dim=fields.integer("v_head_dim"),
        bias=fields.flag("attention_bias", default=False),
        dropout=fields.number("attention_dropout", default=0.0, high=1.0),
    )  # fmt: skip
    count, traits = common.num_layers(fields), Traits()
    first_dense = fields.integer("first_k_dense_replace", default=0, low=0)
    step = fields.integer("moe_layer_freq", default=1)
    mlp, mixture = dense_mlp(fields, traits), _mixture(fields)
    parts = [(attention, mixture if layer >= first_dense and layer % step == 0 else mlp) for layer in range(count)]
    return decoder(fields, traits, parts)


def _mixture(fields: Fields) -> MixtureOfExperts:
    experts, topk = expert_counts(fields)
    width, activation = fields.integer("moe_intermediate_size"), common.activation(fields)
    num_shared = fields.integer("n_shared_experts", default=0, low=0)
    shared = FeedForward(ffn=num_shared * width, activation=activation, is_gated=True) if num_shared else None
    return MixtureOfExperts(
        experts=experts, topk=topk, expert_ffn=width, activation=activation, shared=shared,
        has_correction_bias=fields.text("model_type") != "deepseek_v2",
    )  # fmt: skip
