"""Decoders of the Llama line: pre-norm, rotary positions, grouped-query attention, gated MLP, and their variations.

A model type is a row of `TRAITS`, its fixed choices; everything else comes from the configuration.
Source: the modeling files of transformers 4.57 under the same names, and the reports of each model.
"""

from dataclasses import dataclass, field

from aisys.workload.config_file import Fields
from aisys.workload.family import fields as common
from aisys.workload.transformer import Attention, FeedForward, Head, InputEmbedding, Layer, Norm, Transformer
from aisys.workload.transformer.spec import Residual

RMS, LAYER = Norm("rmsnorm"), Norm("layernorm", has_bias=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a model type fixes. qkv_bias None: the field `attention_bias` (or use_bias) decides for all four."""

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


TRAITS = {
    "llama": Traits(),
    "mistral": Traits(qkv_bias=False),
    "qwen2": Traits(qkv_bias=True),
    "qwen3": Traits(has_qk_norm=True),
    "gemma": Traits(is_tied=True, is_scaled=True, activation="gelu_pytorch_tanh", head_dim=256),
    "gemma2": Traits(
        residual="sandwich", is_tied=True, is_scaled=True, activation="gelu_pytorch_tanh", head_dim=256
    ),
    "phi3": Traits(qkv_bias=False),
    "nemotron": Traits(norm=LAYER, is_gated=False, activation="relu2"),
    "starcoder2": Traits(norm=LAYER, is_gated=False, activation="gelu_pytorch_tanh", is_tied=True, bias=True),
}  # fmt: skip


def read_decoder(fields: Fields) -> Transformer:
    """The decoder that these fields describe. Raises BadInput where one is missing or impossible."""
    traits = TRAITS[fields.text("model_type")]
    mlp = FeedForward(
        ffn=fields.integer("intermediate_size"), activation=common.activation(fields, traits.activation),
        is_gated=traits.is_gated, has_bias=fields.flag("mlp_bias", "use_bias", default=traits.bias),
    )  # fmt: skip
    layers = tuple(
        Layer(
            name="sliding_layer" if spec.window and is_mixed else "layer", attention=spec, feed_forward=mlp,
            norm=traits.norm, residual=traits.residual, dropout=fields.number("resid_pdrop", default=0.0, high=1.0),
        )
        for is_mixed, spec in attentions(fields, traits)
    )  # fmt: skip
    return decoder(fields, traits, layers)


def decoder(fields: Fields, traits: Traits, layers: tuple[Layer, ...]) -> Transformer:
    """A decoder around `layers`: token embedding without positions, final norm, head."""
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


def attentions(fields: Fields, traits: Traits) -> list[tuple[bool, Attention]]:
    """The attention of each layer, and whether windows differ between layers."""
    hidden, heads = fields.integer("hidden_size"), fields.integer("num_attention_heads")
    bias = fields.flag("attention_bias", "use_bias", default=traits.bias)
    windows = layer_windows(fields)
    width = common.head_dim(fields, hidden, heads, default=traits.head_dim)
    kv_heads = common.kv_heads(fields, heads)
    by_window = {
        window: Attention(
            heads=heads, kv_heads=kv_heads, head_dim=width, window=window,
            qkv_bias=bias if traits.qkv_bias is None else traits.qkv_bias,
            out_bias=bias and traits.qkv_bias is None, qk_norm=RMS if traits.has_qk_norm else None,
            has_sinks=fields.text("model_type") == "gpt_oss",
            softcap=fields.number("attn_logit_softcapping", default=0.0),
            dropout=fields.number("attention_dropout", default=0.0, high=1.0),
        )
        for window in dict.fromkeys(windows)
    }  # fmt: skip
    return [(len(by_window) > 1, by_window[window]) for window in windows]


def layer_windows(fields: Fields) -> list[int]:
    """The sliding window of every layer, 0 where it sees all keys.

    `layer_types` decides where given; otherwise gemma2 and gpt_oss alternate from a sliding layer on, qwen slides
    from max_window_layers on if use_sliding_window, and the rest slide everywhere if sliding_window is set.
    """
    count = common.num_layers(fields)
    if not fields.has("sliding_window") or not fields.flag("use_sliding_window", default=True):
        return [0] * count
    window = fields.integer("sliding_window", high=2**31)
    model_type = fields.text("model_type")
    if fields.has("layer_types"):
        types = fields.texts("layer_types")
        if len(types) != count:
            raise fields.refuse("layer_types", f"{len(types)} entries for {count} layers; give one per layer")
        unknown = sorted({*types} - {"full_attention", "sliding_attention"})
        if unknown:
            raise fields.refuse("layer_types", f"and {unknown[0]!r} is neither full_attention nor sliding_attention")
        return [window if kind == "sliding_attention" else 0 for kind in types]
    if model_type in ("gemma2", "gpt_oss"):
        return [0 if layer % 2 else window for layer in range(count)]
    if model_type.startswith("qwen"):
        if not fields.flag("use_sliding_window", default=False):
            return [0] * count
        first = fields.integer("max_window_layers", default=28, low=0)
        return [window if layer >= first else 0 for layer in range(count)]
    return [window] * count
