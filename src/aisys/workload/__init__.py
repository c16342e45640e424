"""Readers: a graph from a published name, a configuration or a file."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aisys import plugins
from aisys.errors import BadInput
from aisys.ir.graph import Graph
from aisys.ir.verify import verify
from aisys.workload.config_file import Fields
from aisys.workload.family.gpt import GptShape, gpt_like
from aisys.workload.hf_config import fields_of, graph_of, read_hf_config, read_transformer, with_layers
from aisys.workload.image import image_graph, read_topology
from aisys.workload.published import Published, is_published, list_workloads, published

__all__ = ["GptShape", "Published", "gpt_like", "list_workloads", "published", "read", "read_hf_config"]


def read(
    source: str | Path | Mapping[str, Any], *, batch: int = 1, tokens: int | None = None, cached_tokens: int = 0,
    num_layers: int | None = None,
) -> Graph:  # fmt: skip
    """The forward graph of a workload: `tokens` new tokens in each of `batch` sequences.

    source: a published name or alias (`list_workloads()`), a Hugging Face folder or config.json, its fields, or a
    layer table of SCALE-Sim (.csv); or NAME or NAME:REST of an outside package's plug-in, whose
    `read(REST, batch=..., tokens=...)` then gives the graph.
    A name wins over a folder of that name; write `./name` for the folder. tokens None: 2048, or all that the model
    takes if fewer. cached_tokens: earlier tokens whose keys and values are kept (decode: tokens=1). num_layers:
    another depth than the source's, for reduced proxies.
    Raises UnknownName for an unknown source, BadInput for a configuration that cannot be built.

    >>> read("llama-3.1-405b", num_layers=8, tokens=8192).attributes["num_layers"]
    8
    """
    outside = _plug_in(source) if isinstance(source, str) else None
    if outside is not None:
        if cached_tokens or num_layers is not None:
            raise BadInput(f"workload {source!r} of an outside package takes batch and tokens only; leave out the rest")
        return outside(batch, tokens)
    if isinstance(source, (str, Path)) and str(source).lower().endswith(".csv"):
        _check_no_tokens(source, tokens, cached_tokens, num_layers)
        return read_topology(Path(source), batch)
    fields = _fields(source)
    if fields.values.get("model_type") == "cnn":
        _check_no_tokens(source, tokens, cached_tokens, num_layers)
        return image_graph(fields, batch)
    if num_layers is not None:
        fields = with_layers(fields, num_layers)
    return graph_of(read_transformer(fields), batch, tokens, cached_tokens)


def _check_no_tokens(source: object, tokens: int | None, cached_tokens: int, num_layers: int | None) -> None:
    if tokens is not None or cached_tokens or num_layers is not None:
        raise BadInput(f"{source!s:.80} takes images, and its layers are what they are; give batch only")


def _plug_in(source: str) -> Callable[[int, int | None], Graph] | None:
    """The reader of an outside package that `source` names, or None."""
    name, _, rest = source.partition(":")
    if name not in plugins.names("workload"):
        return None
    if is_published(name):
        raise BadInput(f"workload {name!r} of an outside package is a published name here; rename its entry point")
    reader = plugins.find("workload", name)
    return lambda batch, tokens: verify(reader(rest, batch=batch, tokens=tokens))


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
