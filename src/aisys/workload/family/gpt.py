"""Decoders of the GPT line: learned positions or rotary, layer norms with biases, an ungated MLP.

Source: the modeling files of transformers 4.57 under the same names; Shoeybi et al. 2019 (Megatron-LM).
"""

from dataclasses import dataclass

from aisys.ir.graph import Graph
from aisys.workload.config_file import Fields
from aisys.workload.family import fields as common
from aisys.workload.transformer import (
    Attention,
    Extent,
    FeedForward,
    Head,
    InputEmbedding,
    Layer,
    Norm,
    Transformer,
    transformer_graph,
)

LAYER = Norm("layernorm", has_bias=True)
OPT_POSITION_OFFSET = 2
"""Extra rows of OPT's position table. Source: OPTLearnedPositionalEmbedding in transformers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GptShape:
    """A GPT-3 style model by its dimensions, as tables of training runs state it; `seq` learned positions."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    ffn: int
    vocab: int
    seq: int

    def config(self) -> dict[str, int | float | str]:
        """The configuration that `read` takes: tied embeddings, biases, dropout 0.1 as Megatron-LM trains."""
        return {
            "model_type": "gpt2", "n_layer": self.layers, "n_embd": self.hidden, "n_head": self.heads,
            "num_key_value_heads": self.kv_heads, "n_inner": self.ffn, "vocab_size": self.vocab,
            "n_positions": self.seq,
        }  # fmt: skip


def gpt_like(shape: GptShape, *, batch: int = 1, tokens: int | None = None, cached_tokens: int = 0) -> Graph:
    """The graph of a GPT-3 style model by its dimensions; tokens default to all `seq` positions.

    >>> gpt_like(GptShape(layers=96, hidden=12288, heads=96, kv_heads=96, ffn=49152, vocab=51200, seq=2048)
    ...          ).num_parameters
    174615846912
    """
    fields = Fields(shape.config(), "the shape", f"gpt-{shape.layers}x{shape.hidden}")
    return transformer_graph(read_gpt2(fields), Extent(batch, tokens or shape.seq, cached_tokens))


def read_gpt2(fields: Fields) -> Transformer:
    """GPT-2, GPT-3 and Megatron-LM models, which share one layout."""
    hidden, heads = fields.integer("n_embd", "hidden_size"), fields.integer("n_head", "num_attention_heads")
    dropout = fields.number("resid_pdrop", default=0.1, high=1.0)
    attention = Attention(
        heads=heads, kv_heads=common.kv_heads(fields, heads), qkv_bias=True, out_bias=True, has_rope=False,
        head_dim=fields.divides(heads, hidden, "n_head", "n_embd"),
        dropout=fields.number("attn_pdrop", default=0.1, high=1.0),
    )  # fmt: skip
    mlp = FeedForward(
        ffn=fields.integer("n_inner", default=4 * hidden), activation=common.activation(fields, "gelu_new"),
        is_gated=False, has_bias=True,
    )  # fmt: skip
    layer = Layer(name="layer", attention=attention, feed_forward=mlp, norm=LAYER, dropout=dropout)
    positions = fields.integer("n_positions", "max_position_embeddings")
    embedding = InputEmbedding(positions=positions, dropout=fields.number("embd_pdrop", default=0.1, high=1.0))
    return _gpt(fields, hidden, layer, embedding, max_tokens=positions, is_tied=True)


def read_gpt_neox(fields: Fields) -> Transformer:
    """GPT-NeoX and Pythia: rotary positions; attention and MLP side by side where use_parallel_residual."""
    hidden, heads = fields.integer("hidden_size"), fields.integer("num_attention_heads")
    bias = fields.flag("attention_bias", default=True)
    attention = Attention(
        heads=heads, kv_heads=heads, head_dim=common.head_dim(fields, hidden, heads), qkv_bias=bias, out_bias=bias,
        dropout=fields.number("attention_dropout", default=0.0, high=1.0),
    )  # fmt: skip
    mlp = FeedForward(
        ffn=fields.integer("intermediate_size"), activation=common.activation(fields, "gelu"), is_gated=False,
        has_bias=True,
    )  # fmt: skip
    layer = Layer(
        name="layer", attention=attention, feed_forward=mlp, norm=LAYER,
        residual="parallel" if fields.flag("use_parallel_residual", default=True) else "pre",
        dropout=fields.number("hidden_dropout", default=0.0, high=1.0),
    )  # fmt: skip
    return _gpt(fields, hidden, layer, InputEmbedding(), max_tokens=0, is_tied=False)


def read_opt(fields: Fields) -> Transformer:
    """OPT: learned positions with two spare rows, relu, norms before (or, in the 350m, after) each part."""
    hidden, heads = fields.integer("hidden_size"), fields.integer("num_attention_heads")
    if fields.integer("word_embed_proj_dim", default=hidden) != hidden:
        raise fields.refuse("word_embed_proj_dim", f"but only embeddings as wide as hidden_size={hidden} are known")
    bias = fields.flag("enable_bias", default=True)
    is_pre = fields.flag("do_layer_norm_before", default=True)
    attention = Attention(
        heads=heads, kv_heads=heads, head_dim=common.head_dim(fields, hidden, heads), qkv_bias=bias, out_bias=bias,
        has_rope=False, dropout=fields.number("attention_dropout", default=0.0, high=1.0),
    )  # fmt: skip
    mlp = FeedForward(
        ffn=fields.integer("ffn_dim"), activation=common.activation(fields, "relu"), is_gated=False, has_bias=bias
    )
    layer = Layer(
        name="layer", attention=attention, feed_forward=mlp, norm=LAYER, residual="pre" if is_pre else "post",
        dropout=fields.number("dropout", default=0.1, high=1.0),
    )  # fmt: skip
    positions = fields.integer("max_position_embeddings")
    embedding = InputEmbedding(positions=positions + OPT_POSITION_OFFSET)
    return _gpt(fields, hidden, layer, embedding, max_tokens=positions, is_tied=True)


def _gpt(
    fields: Fields, hidden: int, layer: Layer, embedding: InputEmbedding, *, max_tokens: int, is_tied: bool
) -> Transformer:
    first = layer.attention
    has_final_norm = layer.residual != "post"
    return Transformer(
        name=fields.name, hidden=hidden, vocab=fields.integer("vocab_size"),
        layers=(layer,) * common.num_layers(fields), embedding=embedding, max_tokens=max_tokens,
        head=Head(
            norm=LAYER if has_final_norm else None, is_tied=fields.flag("tie_word_embeddings", default=is_tied)
        ),
        dtype=common.stored_dtype(fields),
        attributes=common.attributes(fields, heads=first.heads, kv_heads=first.kv_heads, head_dim=first.head_dim),
    )  # fmt: skip
