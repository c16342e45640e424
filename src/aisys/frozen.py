"""An immutable, hashable mapping that keeps its order: the form of every mapping inside a noun."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class FrozenMap(Mapping[K, V]):
    """A read-only dict. Equal to any mapping with the same items; hash ignores order.

    >>> FrozenMap(m=2, n=3) == {"n": 3, "m": 2}
    True
    """

    __slots__ = ("_hash", "_items")

    def __init__(self, *args: Any, **kwargs: V) -> None:
        self._items: dict[K, V] = dict(*args, **kwargs)
        self._hash: int | None = None

    def __getitem__(self, key: K) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self._items.items()))
        return self._hash

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{k}: {v}" for k, v in self._items.items()) + "}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (FrozenMap, (self._items,))
