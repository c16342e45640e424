"""YAML files of other tools, read safely: plain values, and one BadInput for whatever is not a document."""

import stat
from functools import lru_cache
from pathlib import Path
from typing import Any

from aisys.errors import BadInput, MissingExtra

MAX_FILE_BYTES = 2_000_000
TAG = "!"
"""The key under which a mapping keeps its YAML tag: `!Component {name: x}` is {"!": "Component", "name": "x"}."""


def read_yaml(path: Path) -> Any:
    """The document in the file at `path`; local tags become the key TAG of their mapping.

    Raises MissingExtra without PyYAML; BadInput for a file that cannot be read, is too large, or is not YAML.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadInput(f"{path}: not a file; give a YAML file")
        if status.st_size > MAX_FILE_BYTES:
            raise BadInput(f"{path.name}: {status.st_size:,} bytes; a YAML file has at most {MAX_FILE_BYTES:,}")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); give a YAML file") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path.name}: byte {error.start} is not UTF-8 text; give a YAML file") from None
    return parse_yaml(text, path.name)


def parse_yaml(text: str, name: str) -> Any:
    """The document in `text`; `name` stands in messages. Raises as `read_yaml`."""
    yaml, loader = _loader()
    try:
        return yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise BadInput(f"{name}: not YAML{where} ({' '.join(str(problem).split())[:120]}); is it cut off?") from None
    except (RecursionError, ValueError, TypeError):
        raise BadInput(f"{name}: not plain YAML; templates and anchors that grow must be filled in first") from None


@lru_cache(maxsize=1)
def _loader() -> tuple[Any, Any]:
    try:
        import yaml
    except ModuleNotFoundError:
        raise MissingExtra("reading YAML needs PyYAML; pip install 'aisys[yaml]'") from None

    class Loader(yaml.SafeLoader):
        """Plain values, and mappings with local tags."""

    def tagged(loader: Any, suffix: str, node: Any) -> Any:
        if isinstance(node, yaml.MappingNode):
            return {TAG: suffix, **loader.construct_mapping(node, deep=True)}
        if isinstance(node, yaml.SequenceNode):
            return loader.construct_sequence(node, deep=True)
        return loader.construct_scalar(node)

    Loader.add_multi_constructor("!", tagged)
    return yaml, Loader
