"""Where the numbers behind a report come from."""

from collections.abc import Iterable
from typing import Any

from aisys.report.sources import numbers_of
from aisys.units import Sourced


def sources(keys: Iterable[str], *nouns: Any) -> tuple[Sourced, ...]:
    """The sourced numbers inside `nouns` whose key is among `keys`, each once, by key."""
    found = {key: number for noun in nouns for key, number in numbers_of(noun).items()}
    return tuple(found[key] for key in sorted(found.keys() & set(keys)))


def all_sources(noun: Any) -> tuple[Sourced, ...]:
    """Every sourced number inside a noun, by key."""
    return tuple(number for _, number in sorted(numbers_of(noun).items()))
