"""What a transformer is made of, as plain data: every published model is a choice of these fields."""

from dataclasses import dataclass, field
from typing import Literal

from aisys.errors import BadInput
from aisys.frozen import FrozenMap
from aisys.ir.dtype import DTYPES, DType
from aisys.ir.graph import Option

MAX_BATCH, MAX_TOKENS = 2**24, 2**27
"""Most sequences and tokens that are believed, so that every count of a graph stays a 64-bit integer."""

Residual = Literal["pre", "post", "sandwich", "parallel"]


@dataclass(frozen=True, slots=True)
class Extent:
    """The run: `tokens` new tokens per sequence after `cached_tokens` whose keys and values are kept.

    Raises BadInput where a count is not a whole number within reason.
    """

    batch: int
    tokens: int
    cached_tokens: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (("batch", 1, MAX_BATCH), ("tokens", 1, MAX_TOKENS), ("cached_tokens", 0, MAX_TOKENS)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise BadInput(f"{name} is {value!r:.40}; it must be a whole number between {low} and {high}")

    @property
    def has_cache(self) -> bool:
        """Whether keys and values of earlier tokens are read from a cache (decode, or a later chunk of a prompt)."""
        return self.cached_tokens > 0

    def keys(self, window: int = 0) -> int:
        """Keys that any of the new tokens sees; a sliding `window` (0: none) forgets older ones."""
        everything = self.cached_tokens + self.tokens
        return min(everything, window + self.tokens - 1) if window else everything


@dataclass(frozen=True, slots=True)
class Norm:
    """A normalisation with a scale, and a bias where `has_bias`. `function`: rmsnorm or layernorm."""

    function: str = "rmsnorm"
    has_bias: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Multi-head attention; kv_heads < heads is grouped-query attention.

    qk_norm: a norm over head_dim of every query and key. window: keys seen (0: all). has_sinks: one learned
    logit per head. softcap: scores are squashed to +-softcap (0: not). dropout: of attention probabilities.
    """

    heads: int
    kv_heads: int
    head_dim: int
    qkv_bias: bool = False
    out_bias: bool = False
    qk_norm: Norm | None = None
    has_rope: bool = True
    is_causal: bool = True
    window: int = 0
    has_sinks: bool = False
    softcap: float = 0.0
    dropout: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentAttention:
    """Multi-head latent attention: keys and values come from one compressed vector of kv_rank per token.

    q_rank 0: queries are projected directly. Source: DeepSeek-V2 report 2024, section 2.1.
    """

    heads: int
    q_rank: int
    kv_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int
    bias: bool = False
    dropout: float = 0.0

    @property
    def kv_heads(self) -> int:
        """As many as query heads once the latent vector is expanded."""
        return self.heads

    @property
    def head_dim(self) -> int:
        """Width of a query or key: the part without and the part with rotary positions."""
        return self.nope_dim + self.rope_dim


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForward:
    """A dense MLP of width `ffn`; gated where is_gated: down(activation(gate(x)) * up(x))."""

    ffn: int
    activation: str
    is_gated: bool
    has_bias: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureOfExperts:
    """`experts` MLPs of width `expert_ffn`, of which every token uses `topk`, and a dense `shared` one.

    router_bias: on the router's logits. has_correction_bias: a per-expert bias for choosing (DeepSeek-V3).
    has_shared_gate: the shared MLP's output is scaled by a learned sigmoid gate (Qwen1.5-MoE).
    """

    experts: int
    topk: int
    expert_ffn: int
    activation: str
    is_gated: bool = True
    has_bias: bool = False
    router_bias: bool = False
    has_correction_bias: bool = False
    shared: FeedForward | None = None
    has_shared_gate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Attention and feed-forward with their norms around the residual stream.

    residual: pre (norm, part, add), post (part, add, norm), sandwich (norm, part, norm, add),
    parallel (both parts read the layer's input). dropout: after each part.
    """

    name: str
    attention: Attention | LatentAttention
    feed_forward: FeedForward | MixtureOfExperts
    norm: Norm = field(default_factory=Norm)
    residual: Residual = "pre"
    dropout: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class InputEmbedding:
    """How tokens become vectors. positions: learned ones (0: none). token_types: segment embeddings (0: none).

    pixels: values per image patch; then patches are projected and a class token leads (vision transformer).
    """

    positions: int = 0
    token_types: int = 0
    pixels: int = 0
    norm: Norm | None = None
    is_scaled: bool = False
    dropout: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What stands on the last layer: final `norm`, then `kind`.

    lm: logits over the vocabulary at every token. masked_lm: a dense layer, activation and norm before them.
    pooler: a dense layer and tanh on the first token. classifier: class scores from the first token.
    none: nothing more.
    """

    kind: Literal["lm", "masked_lm", "pooler", "classifier", "none"] = "lm"
    norm: Norm | None = field(default_factory=Norm)
    is_tied: bool = False
    has_bias: bool = False
    softcap: float = 0.0
    classes: int = 0
    activation: str = "gelu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformer:
    """A whole model. `layers` one by one; equal neighbours become one segment. max_tokens 0: no fixed limit."""

    name: str
    hidden: int
    vocab: int
    layers: tuple[Layer, ...]
    embedding: InputEmbedding = field(default_factory=InputEmbedding)
    head: Head = field(default_factory=Head)
    max_tokens: int = 0
    is_decoder: bool = True
    dtype: DType = DTYPES["bf16"]
    attributes: FrozenMap[str, Option] = field(default_factory=FrozenMap)
