"""Published configurations by name: facts that model cards and papers state, each with its source."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from aisys.errors import unknown_name
from aisys.frozen import FrozenMap

FOLDER = Path(__file__).parent / "catalog"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One published model: its configuration as fields, where that stands, and the count of its parameters.

    num_parameters_source says who counted; it is never this program.
    """

    name: str
    aliases: tuple[str, ...]
    source: str
    num_parameters: int
    num_parameters_source: str
    config: FrozenMap[str, Any]


@cache
def list_workloads() -> tuple[str, ...]:
    """The names of all published configurations, in order; each is a file of the catalogue.

    >>> "llama-3.1-8b" in list_workloads()
    True
    """
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def published(name: str) -> Published:
    """The published configuration called `name` or known under that alias; case does not matter.

    Raises UnknownName with the nearest names.

    >>> published("meta-llama/Llama-2-70b-hf").name
    'llama-2-70b'
    """
    stem = _stem(name)
    if stem is None:
        raise unknown_name("workload", name, (*list_workloads(), *_stem_of_alias()))
    return _load(stem)


def is_published(name: str) -> bool:
    """Whether `published` knows the name."""
    return _stem(name) is not None


def _stem(name: str) -> str | None:
    wanted = name.strip().lower()
    return wanted if wanted in list_workloads() else _stem_of_alias().get(wanted)


@cache
def _stem_of_alias() -> Mapping[str, str]:
    """The file stem for every alias in lower case."""
    return {alias.lower(): stem for stem in list_workloads() for alias in _load(stem).aliases}


@cache
def _load(stem: str) -> Published:
    entry = tomllib.loads((FOLDER / f"{stem}.toml").read_text(encoding="utf-8"))
    return Published(
        name=stem, aliases=tuple(entry["aliases"]), source=entry["source"], num_parameters=entry["num_parameters"],
        num_parameters_source=entry["num_parameters_source"], config=FrozenMap(entry["config"]),
    )  # fmt: skip
