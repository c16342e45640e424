"""Where the numbers behind a report come from."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from aisys.units import Sourced


def sources(keys: Iterable[str], *nouns: Any) -> tuple[Sourced, ...]:
    """The sourced numbers inside `nouns` whose key is among `keys`, each once, by key."""
    wanted = set(keys)
    found = {number.key: number for noun in nouns for number in _numbers(noun) if number.key in wanted}
    return tuple(found[key] for key in sorted(found))


def all_sources(noun: Any) -> tuple[Sourced, ...]:
    """Every sourced number inside a noun, by key."""
    found = {number.key: number for number in _numbers(noun)}
    return tuple(found[key] for key in sorted(found))


def _numbers(value: Any) -> Iterator[Sourced]:
    if isinstance(value, Sourced):
        yield value
    elif is_dataclass(value):
        for f in fields(value):
            yield from _numbers(getattr(value, f.name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _numbers(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from _numbers(item)
