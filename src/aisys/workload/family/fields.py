"""Fields that every family names alike."""

from collections.abc import Callable

from aisys.frozen import FrozenMap
from aisys.ir.dtype import DTYPES, DType
from aisys.workload.config_file import Fields
from aisys.workload.transformer import Transformer

Reader = Callable[[Fields], Transformer]

MAX_LAYERS = 10_000
"""Most layers that are believed. Source: assumed; the deepest published one has 126."""

FUNCTIONS = {
    "silu": "silu", "swish": "silu", "swiglu": "silu", "gelu": "gelu", "gelu_new": "gelu", "gelu_fast": "gelu",
    "gelu_pytorch_tanh": "gelu", "quick_gelu": "gelu", "relu": "relu", "relu2": "squared_relu", "tanh": "tanh",
}  # fmt: skip
"""Activation functions by the names that configurations give them. Source: transformers.activations.ACT2FN."""

TORCH_DTYPES = {
    "bfloat16": "bf16", "torch.bfloat16": "bf16", "float16": "fp16", "torch.float16": "fp16", "float32": "fp32",
    "torch.float32": "fp32", "auto": "bf16",
}  # fmt: skip


def activation(fields: Fields, default: str = "silu") -> str:
    """The activation function of the MLP."""
    return fields.choice(FUNCTIONS, "hidden_act", "hidden_activation", "activation_function", default=default)


def stored_dtype(fields: Fields) -> DType:
    """The format of weights and activations; bf16 where the configuration does not say."""
    return DTYPES[fields.choice(TORCH_DTYPES, "torch_dtype", "dtype", default="bfloat16")]


def num_layers(fields: Fields) -> int:
    """How many layers the stack has."""
    return fields.integer("num_hidden_layers", "n_layer", high=MAX_LAYERS)


def head_dim(fields: Fields, hidden: int, heads: int, *, default: int = 0) -> int:
    """The width of a head: stated, or the model type's `default`, or hidden / heads."""
    if default or fields.has("head_dim"):
        return fields.integer("head_dim", default=default or None)
    return fields.divides(heads, hidden, "num_attention_heads", "hidden_size")


def kv_heads(fields: Fields, heads: int) -> int:
    """How many key heads: stated, or one per query head. Raises BadInput where they do not divide the heads."""
    count = fields.integer("num_key_value_heads", default=heads)
    fields.divides(count, heads, "num_key_value_heads", "num_attention_heads")
    return count


def attributes(fields: Fields, **counts: int) -> FrozenMap[str, int | float | str | bool]:
    """What reports tell about the source: its model type and head counts, and the longest context it was made for."""
    stated: dict[str, int | float | str | bool] = {"architecture": fields.text("model_type"), **counts}
    if fields.has("max_position_embeddings", "n_positions"):
        stated["max_positions"] = fields.integer("max_position_embeddings", "n_positions", high=2**31)
    quantization = fields.values.get("quantization_config")
    if isinstance(quantization, dict):
        stated["stored_quantization"] = str(quantization.get("quant_method", "unknown"))[:40]
    return FrozenMap(stated)
