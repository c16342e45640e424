"""Models of a few hundred weights that have every feature of the large ones; heads and experts split 2 and 4 ways."""

from collections.abc import Callable, Mapping
from typing import Any

from aisys.errors import unknown_name
from aisys.ir import Graph, verify
from aisys.workload.transformer import (
    Attention,
    Extent,
    FeedForward,
    Head,
    InputEmbedding,
    LatentAttention,
    Layer,
    MixtureOfExperts,
    Norm,
    Transformer,
    transformer_graph,
)

RMS, LAYER = Norm(), Norm("layernorm", has_bias=True)
GATED = FeedForward(ffn=12, activation="silu", is_gated=True)
PLAIN = FeedForward(ffn=12, activation="gelu", is_gated=False, has_bias=True)
EXPERTS: Mapping[str, Any] = {"experts": 4, "topk": 2, "expert_ffn": 8, "activation": "silu"}


def attention(**features: Any) -> Attention:
    """Four query heads, by default on two key heads."""
    usual = {"heads": 4, "kv_heads": 2, "head_dim": 4}
    return Attention(**{**usual, **features})


def latent(q_rank: int = 6) -> LatentAttention:
    """Latent attention with four heads."""
    return LatentAttention(heads=4, q_rank=q_rank, kv_rank=6, nope_dim=4, rope_dim=2, value_dim=4)


def model(
    core: Attention | LatentAttention | None = None, feed_forward: FeedForward | MixtureOfExperts = GATED,
    norm: Norm = RMS, *, extent: tuple[int, int, int] = (2, 8, 0), layers: int = 1, **ends: Any,
) -> Graph:  # fmt: skip
    """One layer (or more) between an embedding and a head. ends: residual, dropout, embedding, head.

    extent: sequences, tokens, cached tokens.
    """
    layer = Layer(
        name="layer", attention=core or attention(), feed_forward=feed_forward, norm=norm,
        residual=ends.pop("residual", "pre"), dropout=ends.pop("dropout", 0.0),
    )  # fmt: skip
    ends = {"head": Head(norm=norm), "embedding": InputEmbedding(), **ends}
    spec = Transformer(name="small", hidden=8, vocab=16, layers=(layer,) * layers, **ends)
    return verify(transformer_graph(spec, Extent(*extent)))


def gpt(kv_heads: int = 4, layers: int = 1) -> Graph:
    """Biases, layer norms, dropout, learned positions, tied embeddings."""
    return model(
        attention(kv_heads=kv_heads, qkv_bias=True, out_bias=True, has_rope=False, dropout=0.2), PLAIN, LAYER,
        layers=layers, dropout=0.25, head=Head(norm=LAYER, is_tied=True),
        embedding=InputEmbedding(positions=8, dropout=0.3),
    )  # fmt: skip


def moe(layers: int = 1, extent: tuple[int, int, int] = (2, 8, 0), **features: Any) -> Graph:
    """Routed experts with biases, beside a gated shared one."""
    shared = FeedForward(ffn=8, activation="silu", is_gated=True)
    usual = {"has_bias": True, "shared": shared, "has_shared_gate": True}
    return model(feed_forward=MixtureOfExperts(**EXPERTS, **{**usual, **features}), layers=layers, extent=extent)


MODELS: Mapping[str, Callable[[], Graph]] = {
    "llama": lambda: model(),
    "one key head": lambda: model(attention(kv_heads=1)),
    "two layers": lambda: model(layers=2),
    "qk norm": lambda: model(attention(qk_norm=LAYER, qkv_bias=True, out_bias=True)),
    "window and sinks": lambda: model(attention(window=3, has_sinks=True)),
    "softcaps": lambda: model(
        attention(softcap=2.0), residual="sandwich", head=Head(softcap=3.0, is_tied=True),
        embedding=InputEmbedding(is_scaled=True),
    ),
    "encoder": lambda: model(attention(is_causal=False), PLAIN, LAYER, residual="post"),
    "parallel": lambda: model(residual="parallel"),
    "gpt": gpt,
    "gpt with groups": lambda: gpt(kv_heads=2, layers=2),
    "mixture": moe,
    "mixture, two layers": lambda: moe(layers=2),
    "plain mixture": lambda: moe(has_bias=False, shared=None, has_shared_gate=False, has_correction_bias=True),
    "latent": lambda: model(latent()),
    "latent, direct queries": lambda: model(latent(q_rank=0)),
}  # fmt: skip
"""Forward passes over 2 sequences of 8 tokens, by name."""

SERVED: Mapping[str, Callable[[], Graph]] = {
    "prefill": lambda: model(),
    "decode": lambda: model(extent=(2, 1, 8)),
    "decode in a window": lambda: model(attention(window=4), extent=(2, 2, 9)),
    "chunk of a prompt": lambda: model(attention(kv_heads=1), extent=(2, 4, 4)),
    "latent decode": lambda: model(latent(), extent=(2, 1, 8)),
    "mixture decode": lambda: moe(extent=(2, 1, 7)),
}
"""What an engine runs, by name."""


def small_graph(name: str = "llama") -> Graph:
    """The small model called `name`, of MODELS or SERVED. Raises UnknownName with the nearest names.

    >>> small_graph("mixture").num_parameters < 3000
    True
    """
    known = {**MODELS, **SERVED}
    if name not in known:
        raise unknown_name("small model", name, known)
    return known[name]()
