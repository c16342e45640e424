"""A Hugging Face configuration to a graph, without torch and without weights, in milliseconds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aisys.errors import BadInput, unknown_name
from aisys.ir.graph import Graph
from aisys.workload.config_file import Fields, read_json
from aisys.workload.family.decoder import TRAITS as DECODER_TYPES
from aisys.workload.family.decoder import read_decoder
from aisys.workload.family.encoder import read_bert, read_vit
from aisys.workload.family.fields import MAX_LAYERS, Reader
from aisys.workload.family.gpt import read_gpt2, read_gpt_neox, read_opt
from aisys.workload.family.mla import MODEL_TYPES as MLA_TYPES
from aisys.workload.family.mla import read_mla
from aisys.workload.family.moe import TRAITS as MOE_TYPES
from aisys.workload.family.moe import read_moe
from aisys.workload.transformer import Extent, Transformer, transformer_graph

DEFAULT_TOKENS = 2048
LAYER_COUNTS = ("num_hidden_layers", "n_layer")

READERS: dict[str, Reader] = {
    **dict.fromkeys(DECODER_TYPES, read_decoder),
    **dict.fromkeys(MOE_TYPES, read_moe),
    **dict.fromkeys(MLA_TYPES, read_mla),
    "gpt2": read_gpt2,
    "gpt_neox": read_gpt_neox,
    "opt": read_opt,
    "bert": read_bert,
    "vit": read_vit,
}
"""The family reader of every known `model_type`."""


def read_hf_config(
    source: Mapping[str, Any] | Path, *, batch: int = 1, tokens: int | None = None, cached_tokens: int = 0
) -> Graph:
    """The forward graph of the model that a configuration describes.

    source: the fields, a config.json or the folder that holds one. tokens: new tokens per sequence; None is 2048 or
    all that the model takes, if fewer. cached_tokens: earlier tokens in the key-value cache (decode: tokens=1).
    Raises BadInput for a missing or impossible field, UnknownName for an unknown model_type.

    >>> config = {"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    ...           "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256}
    >>> read_hf_config(config).num_parameters
    8030261248
    """
    return graph_of(read_transformer(fields_of(source)), batch, tokens, cached_tokens)


def fields_of(source: Mapping[str, Any] | Path) -> Fields:
    """The fields of a configuration, which is named after its folder, or as it calls itself."""
    if isinstance(source, Mapping):
        return Fields(source, "the configuration", str(source.get("_name_or_path") or source.get("model_type"))[:80])
    path = source / "config.json" if source.is_dir() else source
    return Fields(read_json(path), str(path), path.resolve().parent.name)


def with_layers(fields: Fields, num_layers: int) -> Fields:
    """The same configuration with another number of layers; per-layer lists lose their end."""
    if isinstance(num_layers, bool) or not isinstance(num_layers, int) or not 1 <= num_layers <= MAX_LAYERS:
        raise BadInput(f"num_layers is {num_layers!r:.40}; it must be a whole number between 1 and {MAX_LAYERS}")
    changed: dict[str, Any] = {name: num_layers for name in LAYER_COUNTS if name in fields.values}
    if isinstance(kinds := fields.values.get("layer_types"), list):
        changed["layer_types"] = kinds[:num_layers]
    return Fields({**fields.values, **changed}, fields.where, fields.name)


def read_transformer(fields: Fields) -> Transformer:
    """The description of the model that these fields configure."""
    model_type = fields.text("model_type")
    if model_type not in READERS:
        raise unknown_name(f"model_type in {fields.where}", model_type, READERS)
    return READERS[model_type](fields)


def graph_of(model: Transformer, batch: int, tokens: int | None, cached_tokens: int) -> Graph:
    """The graph of `model`; tokens None is as many as it takes, up to DEFAULT_TOKENS."""
    if tokens is None:
        room = model.max_tokens - cached_tokens if model.max_tokens else DEFAULT_TOKENS
        tokens = max(1, min(DEFAULT_TOKENS, room))
    return transformer_graph(model, Extent(batch, tokens, cached_tokens))
