"""Fitted constants of many rows at once: one look-up per distinct kernel variant, then one value per row."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from aisys.cost.gpu.timing import Floats, Names
from aisys.machine import Gpu

Chain = Callable[[str, str], tuple[str, ...]]
"""`chain(variant, field)` names the constants that may hold a field, most specific first."""


def constants(
    gpu: Gpu, variants: Names, fields: tuple[str, ...], chain: Chain
) -> tuple[dict[str, Floats], frozenset[str]]:
    """The constant of every field for every entry of `variants`, and the keys that were read.

    Raises UnknownName where the device has none of the names in the chain.
    """
    if len(variants) and bool((variants == variants[0]).all()):
        values, keys = _found(gpu, str(variants[0]), fields, chain)
        return {field: np.full(len(variants), value) for field, value in zip(fields, values, strict=True)}, keys
    distinct, index = np.unique(variants, return_inverse=True)
    found = [_found(gpu, str(name), fields, chain) for name in distinct]
    table = np.array([values for values, _ in found], dtype=float).reshape(len(found), len(fields))[index]
    return dict(zip(fields, table.T, strict=True)), frozenset().union(*(keys for _, keys in found))


@lru_cache(maxsize=1024)
def _found(gpu: Gpu, variant: str, fields: tuple[str, ...], chain: Chain) -> tuple[tuple[float, ...], frozenset[str]]:
    values = [gpu.constant(*chain(variant, field)) for field in fields]
    return tuple(float(value) for value in values), frozenset(value.key for value in values)
