"""YAML files that are Jinja templates and include one another, as accelforge writes them."""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from aisys.cost.loop_nest.yaml_file import parse_yaml
from aisys.errors import BadInput, MissingExtra

MAX_DEPTH = 30
"""How deep files may include one another."""
_REFERENCE = re.compile(r"included_(\d+)((?:\.\w+)*)")


def load(path: Path, **parameters: Any) -> Any:
    """The document of a template file, its includes put in. Tagged mappings carry their tag as `!`.

    Templates run in a sandbox; their assertions are left out. Raises BadInput where the file or a parameter is missing;
    MissingExtra without PyYAML and Jinja2.
    """
    return _Reader(path, parameters, []).document()


class _Reader:
    """One file: its folder, the folders that it added to the search, and the documents that it includes."""

    def __init__(self, path: Path, parameters: Mapping[str, Any], folders: list[Path], depth: int = 0) -> None:
        if not path.is_file():
            raise BadInput(f"{path} is no file")
        if depth > MAX_DEPTH:
            raise BadInput(f"{path.name}: more than {MAX_DEPTH} files include one another")
        self.path, self.parameters, self.folders, self.depth = path, dict(parameters), list(folders), depth
        self.included: list[Any] = []

    def document(self) -> Any:
        text = re.sub(r"^(\s*)<<:", r"\1<<<:", self.text(), flags=re.MULTILINE)
        return self._resolved(parse_yaml(text, self.path.name))

    def text(self) -> str:
        jinja2 = _jinja2()
        environment = jinja2.sandbox.SandboxedEnvironment(undefined=jinja2.StrictUndefined)
        with_names = jinja2.pass_context
        environment.globals.update(
            add_to_path=self._add, include=with_names(partial(self._include)),
            include_text=with_names(partial(self._include_text)),
        )  # fmt: skip
        source = re.sub(r"\{%\s*assert\b.*?%\}", "", self.path.read_text(encoding="utf-8"), flags=re.DOTALL)
        try:
            return str(environment.from_string(source).render(self.parameters))
        except jinja2.TemplateError as error:
            raise BadInput(f"{self.path.name}: {error.message}; give it as a parameter") from error

    def _add(self, folder: str) -> str:
        self.folders.append((self.path.parent / folder).resolve())
        return ""

    def _child(self, context: Any, name: str) -> "_Reader":
        for folder in (self.path.parent, *self.folders):
            if (folder / name).is_file():
                own = {k: v for k, v in context.get_all().items() if not callable(v)}
                return _Reader(folder / name, {**self.parameters, **own}, self.folders, self.depth + 1)
        raise BadInput(f"{self.path.name} includes {name!r}, which is not beside it")

    def _include(self, context: Any, name: str, part: str = "") -> str:
        self.included.append(self._child(context, name).document())
        return f"included_{len(self.included) - 1}" + (f".{part}" if part else "")

    def _include_text(self, context: Any, name: str) -> str:
        return self._child(context, name).text()

    def _resolved(self, node: Any) -> Any:
        """The node with the parts of other documents in place of the references to them."""
        if isinstance(node, str):
            found = _REFERENCE.fullmatch(node.strip())
            if found is None:
                return node
            part = self.included[int(found[1])]
            for key in found[2].split(".")[1:]:
                part = part.get(key)
            return part
        if isinstance(node, list):
            parts = [(item, self._resolved(item)) for item in node]
            return [one for item, part in parts for one in (part if _is_spliced(item, part) else [part])]
        if isinstance(node, dict):
            merged: dict[str, Any] = {}
            for part in self._resolved(node.get("<<<", [])):
                merged.update(part)
            return {**merged, **{key: self._resolved(part) for key, part in node.items() if key != "<<<"}}
        return node


def _is_spliced(item: Any, part: Any) -> bool:
    """A list that was included into a list becomes part of it."""
    return isinstance(item, str) and isinstance(part, list)


def _jinja2() -> Any:
    try:
        import jinja2.sandbox
    except ModuleNotFoundError:
        raise MissingExtra("reading accelforge's templates needs Jinja2; pip install 'aisys[yaml]'") from None
    return jinja2
