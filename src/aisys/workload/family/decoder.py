"""Decoders of the Llama line: pre-norm, rotary positions, grouped-query attention, gated MLP, and their variations.

A model type is a row of `TRAITS`, its fixed choices; everything else comes from the configuration.
Source: the modeling files of transformers 4.57 under the same names, and the reports of each model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from aisys.workload.config_file import Fields
from aisys.workload.family import fields as common
from aisys.workload.transformer import (
    Attention,
    FeedForward,
    Head,
    InputEmbedding,
    LatentAttention,
    Layer,
    MixtureOfExperts,
    Norm,
    Transformer,
)
from aisys.workload.transformer.spec import Residual

AnyAttention = Attention | LatentAttention
AnyFeedForward = FeedForward | MixtureOfExperts

RMS, LAYER = Norm("rmsnorm"), Norm("layernorm", has_bias=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a model type fixes; the fields of the same meaning win where a configuration has them.

    qkv_bias None: the field `attention_bias` (or use_bias) decides for all four projections, `bias` being its default.
    full_every: without `layer_types`, every so many layers the last one sees all keys (0: none does).
    """

    norm: Norm = field(default_factory=Norm)
    residual: Residual = "pre"
    qkv_bias: bool | None = None
    has_qk_norm: bool = False
    is_gated: bool = True
    is_tied: bool = False
    is_scaled: bool = False
    activation: str = "silu"
    head_dim: int = 0
    bias: bool = False
    has_sinks: bool = False
    full_every: int = 0


TRAITS = {
    "llama": Traits(),
    "mistral": Traits(qkv_bias=False),
    "qwen2": Traits(qkv_bias=True),
    "qwen3": Traits(has_qk_norm=True),
    "gemma": Traits(is_tied=True, is_scaled=True, activation="gelu_pytorch_tanh", head_dim=256),
    "gemma2": Traits(
        residual="sandwich", is_tied=True, is_scaled=True, activation="gelu_pytorch_tanh", head_dim=256,
        full_every=2,
    ),
    "gemma3_text": Traits(
        residual="sandwich", is_tied=True, is_scaled=True, activation="gelu_pytorch_tanh", head_dim=256,
        has_qk_norm=True, full_every=6,
    ),
    "phi3": Traits(qkv_bias=False),
    "nemotron": Traits(norm=LAYER, is_gated=False, activation="relu2"),
    "starcoder2": Traits(norm=LAYER, is_gated=False, activation="gelu_pytorch_tanh", is_tied=True, bias=True),
}  # fmt: skip


def read_decoder(fields: Fields) -> Transformer:
    """The decoder that these fields describe. Raises BadInput where one is missing or impossible."""
    traits = TRAITS[fields.text("model_type")]
    mlp = dense_mlp(fields, traits)
    return decoder(fields, traits, [(spec, mlp) for spec in attentions(fields, traits)])


def dense_mlp(fields: Fields, traits: Traits) -> FeedForward:
    """The dense MLP of these fields."""
    return FeedForward(
        ffn=fields.integer("intermediate_size"), activation=common.activation(fields, traits.activation),
        is_gated=traits.is_gated, has_bias=fields.flag("mlp_bias", "use_bias", default=traits.bias),
    )  # fmt: skip


def decoder(fields: Fields, traits: Traits, parts: Sequence[tuple[AnyAttention, AnyFeedForward]]) -> Transformer:
    """A decoder with a layer per entry of `parts`: token embedding without positions, final norm, head.

    Layers are called `layer`; where they differ, those with a window, experts or neither say so first.
    """
    dropout = fields.number("resid_pdrop", default=0.0, high=1.0)
    windows = {_window(attention) for attention, _ in parts}
    kinds = {type(feed_forward) for _, feed_forward in parts}
    layers = tuple(
        Layer(
            name=_layer_name(attention, feed_forward, len(windows) > 1, len(kinds) > 1), attention=attention,
            feed_forward=feed_forward, norm=traits.norm, residual=traits.residual, dropout=dropout,
        )
        for attention, feed_forward in parts
    )  # fmt: skip
    first = layers[0].attention
    return Transformer(
        name=fields.name, hidden=fields.integer("hidden_size"), vocab=fields.integer("vocab_size"),
        layers=layers, dtype=common.stored_dtype(fields),
        embedding=InputEmbedding(
            is_scaled=traits.is_scaled, dropout=fields.number("embd_pdrop", default=0.0, high=1.0)
        ),
        head=Head(
            norm=traits.norm, is_tied=fields.flag("tie_word_embeddings", default=traits.is_tied),
            softcap=fields.number("final_logit_softcapping", default=0.0),
        ),
        attributes=common.attributes(fields, heads=first.heads, kv_heads=first.kv_heads, head_dim=first.head_dim),
    )  # fmt: skip


def _window(attention: AnyAttention) -> int:
    return attention.window if isinstance(attention, Attention) else 0


def _layer_name(attention: AnyAttention, feed_forward: AnyFeedForward, is_mixed: bool, has_both: bool) -> str:
    sliding = "sliding_" if is_mixed and _window(attention) else ""
    dense = "" if not has_both else "dense_" if isinstance(feed_forward, FeedForward) else "moe_"
    return f"{sliding}{dense}layer"


def attentions(fields: Fields, traits: Traits) -> list[Attention]:
    """The attention of each layer."""
    hidden, heads = fields.integer("hidden_size"), fields.integer("num_attention_heads")
    bias = fields.flag("attention_bias", "use_bias", default=traits.bias)
    windows = layer_windows(fields, traits)
    width = common.head_dim(fields, hidden, heads, default=traits.head_dim)
    kv_heads = common.kv_heads(fields, heads)
    by_window = {
        window: Attention(
            heads=heads, kv_heads=kv_heads, head_dim=width, window=window,
            qkv_bias=bias if traits.qkv_bias is None else traits.qkv_bias,
            out_bias=bias and traits.qkv_bias is None, qk_norm=RMS if traits.has_qk_norm else None,
            has_sinks=traits.has_sinks,
            softcap=fields.number("attn_logit_softcapping", "max_attn_value", default=0.0),
            dropout=fields.number("attention_dropout", default=0.0, high=1.0),
        )
        for window in dict.fromkeys(windows)
    }  # fmt: skip
    return [by_window[window] for window in windows]


def layer_windows(fields: Fields, traits: Traits) -> list[int]:
    """The sliding window of every layer, 0 where it sees all keys.

    `layer_types` decides where given; otherwise full_every or sliding_window_pattern does, qwen slides from
    max_window_layers on if use_sliding_window, and the rest slide everywhere if sliding_window is set.
    """
    count = common.num_layers(fields)
    if not fields.has("sliding_window") or not fields.flag("use_sliding_window", default=True):
        return [0] * count
    window = fields.integer("sliding_window", high=2**31)
    if fields.has("layer_types"):
        types = fields.texts("layer_types")
        if len(types) != count:
            raise fields.refuse("layer_types", f"{len(types)} entries for {count} layers; give one per layer")
        unknown = sorted({*types} - {"full_attention", "sliding_attention"})
        if unknown:
            raise fields.refuse("layer_types", f"and {unknown[0]!r} is neither full_attention nor sliding_attention")
        return [window if kind == "sliding_attention" else 0 for kind in types]
    if traits.full_every:
        every = fields.integer("sliding_window_pattern", "_sliding_window_pattern", default=traits.full_every)
        return [window if (layer + 1) % every else 0 for layer in range(count)]
    if fields.text("model_type").startswith("qwen"):
        if not fields.flag("use_sliding_window", default=False):
            return [0] * count
        first = fields.integer("max_window_layers", default=28, low=0)
        return [window if layer >= first else 0 for layer in range(count)]
    return [window] * count
