"""Transformers as data: a typed description of every feature, and the blocks that it stands for."""

from aisys.workload.transformer.assemble import transformer_graph
from aisys.workload.transformer.spec import (
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
)

__all__ = [
    "Attention",
    "Extent",
    "FeedForward",
    "Head",
    "InputEmbedding",
    "LatentAttention",
    "Layer",
    "MixtureOfExperts",
    "Norm",
    "Transformer",
    "transformer_graph",
]
