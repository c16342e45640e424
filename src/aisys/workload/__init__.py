"""Readers: a graph from a published name, a configuration or a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aisys.errors import BadInput
from aisys.ir.graph import Graph
from aisys.workload.config_file import Fields
from aisys.workload.family.gpt import GptShape, gpt_like
from aisys.workload.hf_config import fields_of, graph_of, read_hf_config, read_transformer, with_layers
from aisys.workload.published import Published, is_published, list_workloads, published

__all__ = ["GptShape", "Published", "gpt_like", "list_workloads", "published", "read", "read_hf_config"]


def read(
    source: str | Path | Mapping[str, Any], *, batch: int = 1, tokens: int | None = None, cached_tokens: int = 0,
    num_layers: int | None = None,
) -> Graph:  # fmt: skip
    """The forward graph of a workload: `tokens` new tokens in each of `batch` sequences.

    source: a published name or alias (`list_workloads()`), a Hugging Face folder or config.json, or its fields.
    A name wins over a folder of that name; write `./name` for the folder. tokens None: 2048, or all that the model
    takes if fewer. cached_tokens: earlier tokens whose keys and values are kept (decode: tokens=1). num_layers:
    another depth than the source's, for reduced proxies.
    Raises UnknownName for an unknown source, BadInput for a configuration that cannot be built.

    >>> read("llama-3.1-405b", num_layers=8, tokens=8192).attributes["num_layers"]
    8
    """
    fields = _fields(source)
    if num_layers is not None:
        fields = with_layers(fields, num_layers)
    return graph_of(read_transformer(fields), batch, tokens, cached_tokens)


def _fields(source: str | Path | Mapping[str, Any]) -> Fields:
    if isinstance(source, (Path, Mapping)):
        return fields_of(source)
    if not isinstance(source, str):
        raise BadInput(f"{source!r:.40} is no workload; give a name, a path or a configuration's fields")
    if not is_published(source) and _is_path(source):
        return fields_of(Path(source))
    entry = published(source)
    return Fields(entry.config, f"catalogue entry {entry.name}", entry.name)


def _is_path(source: str) -> bool:
    try:
        return Path(source).exists()
    except OSError:  # longer than the file system allows
        return False
