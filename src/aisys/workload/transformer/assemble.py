"""A transformer's description to its graph: one block per distinct layer, repeated."""

from itertools import groupby

from aisys.errors import BadInput
from aisys.frozen import FrozenMap
from aisys.ir.graph import Block, Graph, Segment
from aisys.workload.transformer.attention import attention_extents, write_attention
from aisys.workload.transformer.draft import STREAM, Draft
from aisys.workload.transformer.ends import embedding_block, head_block
from aisys.workload.transformer.feed_forward import feed_forward_extents, write_feed_forward
from aisys.workload.transformer.latent_attention import latent_extents, write_latent_attention
from aisys.workload.transformer.normalise import normalise
from aisys.workload.transformer.spec import Attention, Extent, Layer, Transformer


def transformer_graph(model: Transformer, extent: Extent) -> Graph:
    """The forward pass of `model` over `extent`: embedding block, layers, head block.

    Raises BadInput where the model cannot see that many tokens or, as an encoder, has no cache.
    """
    _check(model, extent)
    blocks = {layer: _layer_block(model, layer, extent) for layer in dict.fromkeys(model.layers)}
    layers = [Segment(blocks[layer], len(list(run))) for layer, run in groupby(model.layers)]
    attributes = {
        **model.attributes, "hidden": model.hidden, "vocab": model.vocab, "num_layers": len(model.layers),
        "dtype": model.dtype.name, "batch": extent.batch, "tokens": extent.tokens,
        "cached_tokens": extent.cached_tokens,
    }  # fmt: skip
    return Graph(
        name=model.name,
        segments=(Segment(embedding_block(model, extent)), *layers, Segment(head_block(model, extent))),
        shared=frozenset({"embedding.weight"} if model.head.is_tied else ()),
        attributes=FrozenMap(attributes),
    )


def _check(model: Transformer, extent: Extent) -> None:
    total = extent.tokens + extent.cached_tokens
    if model.embedding.pixels and extent.tokens != model.max_tokens:
        raise BadInput(f"{model.name} sees {model.max_tokens} tokens per image, not {extent.tokens}; leave tokens out")
    if model.max_tokens and total > model.max_tokens:
        raise BadInput(
            f"{model.name} has {model.max_tokens} learned positions, but tokens + cached_tokens is {total}; "
            f"ask for at most {model.max_tokens}"
        )
    if extent.has_cache and not model.is_decoder:
        raise BadInput(f"{model.name} is an encoder and keeps no keys; leave cached_tokens out")


def _layer_block(model: Transformer, layer: Layer, extent: Extent) -> Block:
    attention = layer.attention
    extents = {"batch": extent.batch, "token": extent.tokens, "hidden": model.hidden}
    extents |= (
        attention_extents(attention, extent) if isinstance(attention, Attention) else latent_extents(attention, extent)
    )
    draft = Draft(layer.name, extents | feed_forward_extents(layer.feed_forward), model.dtype)
    x = draft.tensor("x", STREAM)
    write = {"pre": _pre, "sandwich": _pre, "post": _post, "parallel": _parallel}[layer.residual]
    write(draft, layer, x, extent.has_cache)
    return draft.block(("x",), (draft.rename_last("y"),))


def _attend(draft: Draft, layer: Layer, x: str, has_cache: bool) -> str:
    spec = layer.attention
    if isinstance(spec, Attention):
        out = write_attention(draft, spec, x, has_cache=has_cache)
    else:
        out = write_latent_attention(draft, spec, x, has_cache=has_cache)
    return draft.dropout(out, 0.0 if has_cache else layer.dropout)


def _transform(draft: Draft, layer: Layer, x: str, has_cache: bool) -> str:
    return draft.dropout(write_feed_forward(draft, layer.feed_forward, x), 0.0 if has_cache else layer.dropout)


def _pre(draft: Draft, layer: Layer, x: str, has_cache: bool) -> None:
    is_sandwich = layer.residual == "sandwich"
    second = "pre_feedforward_layernorm" if is_sandwich else "post_attention_layernorm"
    normed = normalise(draft, layer.norm, x, "attention_in", module="input_layernorm")
    part = _attend(draft, layer, normed, has_cache)
    if is_sandwich:
        part = normalise(draft, layer.norm, part, "attention_normed", module="post_attention_layernorm")
    middle = draft.pointwise("add", "x_middle", [x, part])
    normed = normalise(draft, layer.norm, middle, "mlp_in", module=second)
    part = _transform(draft, layer, normed, has_cache)
    if is_sandwich:
        part = normalise(draft, layer.norm, part, "mlp_normed", module="post_feedforward_layernorm")
    draft.pointwise("add", "x_last", [middle, part])


def _post(draft: Draft, layer: Layer, x: str, has_cache: bool) -> None:
    summed = draft.pointwise("add", "attention_sum", [x, _attend(draft, layer, x, has_cache)])
    middle = normalise(draft, layer.norm, summed, "x_middle", module="post_attention_layernorm")
    summed = draft.pointwise("add", "mlp_sum", [middle, _transform(draft, layer, middle, has_cache)])
    normalise(draft, layer.norm, summed, "x_last", module="post_feedforward_layernorm")


def _parallel(draft: Draft, layer: Layer, x: str, has_cache: bool) -> None:
    first = normalise(draft, layer.norm, x, "attention_in", module="input_layernorm")
    attended = _attend(draft, layer, first, has_cache)
    second = normalise(draft, layer.norm, x, "mlp_in", module="post_attention_layernorm")
    transformed = _transform(draft, layer, second, has_cache)
    middle = draft.pointwise("add", "x_middle", [x, attended])
    draft.pointwise("add", "x_last", [middle, transformed])
