"""Encoders: BERT over tokens, ViT over image patches.

Source: Devlin et al. 2019, Dosovitskiy et al. 2021, and the modeling files of transformers under the same names.
"""

from typing import Literal

from aisys.workload.config_file import Fields
from aisys.workload.family import fields as common
from aisys.workload.family.gpt import LAYER
from aisys.workload.transformer import Attention, FeedForward, Head, InputEmbedding, Layer, Transformer
from aisys.workload.transformer.spec import Residual

HeadKind = Literal["masked_lm", "pooler", "classifier"]

HEADS: dict[str, HeadKind] = {
    "BertModel": "pooler",
    "BertForMaskedLM": "masked_lm",
    "ViTModel": "pooler",
    "ViTForImageClassification": "classifier",
}
"""What stands on the encoder, by the first entry of `architectures`."""

DEFAULT_NUM_LABELS = 2
"""Classes of a classifier that names none. Source: transformers.PretrainedConfig."""


def read_bert(fields: Fields) -> Transformer:
    """BERT: token, position and segment embeddings, norms after each part."""
    layer = _layer(fields, "post", bias=True)
    positions = fields.integer("max_position_embeddings")
    embedding = InputEmbedding(
        positions=positions, token_types=fields.integer("type_vocab_size", default=2), norm=LAYER,
        dropout=layer.dropout,
    )  # fmt: skip
    kind = _head_kind(fields, "BertModel")
    has_scores = kind == "masked_lm"
    is_tied = has_scores and fields.flag("tie_word_embeddings", default=True)
    head = Head(kind=kind, norm=None, is_tied=is_tied, has_bias=has_scores, activation=layer.feed_forward.activation)
    return _encoder(fields, layer, embedding, head, max_tokens=positions)


def read_vit(fields: Fields) -> Transformer:
    """ViT: square patches projected, a class token in front, learned positions, norms before each part."""
    image, patch = fields.integer("image_size"), fields.integer("patch_size")
    tokens = fields.divides(patch, image, "patch_size", "image_size") ** 2 + 1
    layer = _layer(fields, "pre", bias=fields.flag("qkv_bias", default=True))
    embedding = InputEmbedding(
        positions=tokens, pixels=patch * patch * fields.integer("num_channels", default=3), dropout=layer.dropout
    )
    kind = _head_kind(fields, "ViTModel")
    head = Head(kind=kind, norm=LAYER, classes=_num_labels(fields) if kind == "classifier" else 0)
    return _encoder(fields, layer, embedding, head, max_tokens=tokens)


def _layer(fields: Fields, residual: Residual, *, bias: bool) -> Layer:
    hidden, heads = fields.integer("hidden_size"), fields.integer("num_attention_heads")
    attention = Attention(
        heads=heads, kv_heads=heads, head_dim=common.head_dim(fields, hidden, heads), qkv_bias=bias, out_bias=True,
        has_rope=False, is_causal=False, dropout=fields.number("attention_probs_dropout_prob", default=0.0, high=1.0),
    )  # fmt: skip
    mlp = FeedForward(
        ffn=fields.integer("intermediate_size"), activation=common.activation(fields, "gelu"), is_gated=False,
        has_bias=True,
    )  # fmt: skip
    return Layer(
        name="layer", attention=attention, feed_forward=mlp, norm=LAYER, residual=residual,
        dropout=fields.number("hidden_dropout_prob", default=0.0, high=1.0),
    )  # fmt: skip


def _encoder(fields: Fields, layer: Layer, embedding: InputEmbedding, head: Head, *, max_tokens: int) -> Transformer:
    first = layer.attention
    return Transformer(
        name=fields.name, hidden=fields.integer("hidden_size"), layers=(layer,) * common.num_layers(fields),
        vocab=1 if embedding.pixels else fields.integer("vocab_size"), embedding=embedding, head=head,
        max_tokens=max_tokens, is_decoder=False, dtype=common.stored_dtype(fields),
        attributes=common.attributes(fields, heads=first.heads, kv_heads=first.kv_heads, head_dim=first.head_dim),
    )  # fmt: skip


def _head_kind(fields: Fields, default: str) -> HeadKind:
    architecture = (*fields.texts("architectures"), default)[0]
    if architecture not in HEADS:
        raise fields.refuse("architectures", f"but only {', '.join(HEADS)} are known; name one of them")
    return HEADS[architecture]


def _num_labels(fields: Fields) -> int:
    labels = fields.values.get("id2label")
    counted = len(labels) if isinstance(labels, dict) and labels else DEFAULT_NUM_LABELS
    return fields.integer("num_labels", default=counted)
