"""Decoders whose MLP is a mixture of experts: Mixtral, Qwen-MoE, gpt-oss, Grok-1.

Source: the modeling files of transformers 5 under the same names; xai-org/grok-1 model.py (2024).
"""

from dataclasses import dataclass, field

from aisys.workload.config_file import Fields
from aisys.workload.family import fields as common
from aisys.workload.family.decoder import Traits, attentions, decoder, dense_mlp
from aisys.workload.transformer import FeedForward, MixtureOfExperts, Transformer


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertTraits:
    """What a model type fixes about its experts; `width`: the field that holds an expert's width."""

    decoder: Traits = field(default_factory=Traits)
    width: str = "moe_intermediate_size"
    has_bias: bool = False
    has_shared: bool = False


TRAITS = {
    "mixtral": ExpertTraits(decoder=Traits(qkv_bias=False), width="intermediate_size"),
    "qwen2_moe": ExpertTraits(decoder=Traits(qkv_bias=True), has_shared=True),
    "qwen3_moe": ExpertTraits(decoder=Traits(has_qk_norm=True)),
    "gpt_oss": ExpertTraits(
        decoder=Traits(bias=True, has_sinks=True, full_every=2), width="intermediate_size", has_bias=True
    ),
    "grok-1": ExpertTraits(
        decoder=Traits(qkv_bias=False, residual="sandwich", is_tied=True, is_scaled=True, activation="gelu"),
        width="intermediate_size",
    ),
}  # fmt: skip


def read_moe(fields: Fields) -> Transformer:
    """The mixture-of-experts decoder that these fields describe; layers that stay dense included."""
    traits = TRAITS[fields.text("model_type")]
    mixture, dense = _mixture(fields, traits), _dense_layers(fields)
    mlp = dense_mlp(fields, traits.decoder) if dense else None
    parts = [
        (attention, mlp if mlp and layer in dense else mixture)
        for layer, attention in enumerate(attentions(fields, traits.decoder))
    ]
    return decoder(fields, traits.decoder, parts)


def expert_counts(fields: Fields) -> tuple[int, int]:
    """How many experts there are and how many every token uses. Raises BadInput where it uses more than there are."""
    experts = fields.integer("num_local_experts", "num_experts", "n_routed_experts", high=2**16)
    topk = fields.integer("num_experts_per_tok", "experts_per_token", high=2**16)
    if topk > experts:
        raise fields.refuse("num_experts_per_tok", f"more than the {experts} experts; choose at most {experts}")
    return experts, topk


def _mixture(fields: Fields, traits: ExpertTraits) -> MixtureOfExperts:
    experts, topk = expert_counts(fields)
    activation = common.activation(fields, traits.decoder.activation)
    shared = None
    if traits.has_shared:
        shared = FeedForward(
            ffn=fields.integer("shared_expert_intermediate_size"), activation=activation, is_gated=True
        )
    return MixtureOfExperts(
        experts=experts, topk=topk, expert_ffn=fields.integer(traits.width), activation=activation,
        has_bias=traits.has_bias, router_bias=traits.has_bias, shared=shared, has_shared_gate=shared is not None,
    )  # fmt: skip


def _dense_layers(fields: Fields) -> set[int]:
    """Layers whose MLP stays dense: those of mlp_only_layers, and all but every decoder_sparse_step-th."""
    step = fields.integer("decoder_sparse_step", default=1)
    count = common.num_layers(fields)
    return {*fields.integers("mlp_only_layers")} | {layer for layer in range(count) if (layer + 1) % step}
