"""Fitted constants of many rows at once: one look-up per distinct kernel variant, then one value per row."""

from collections.abc import Callable, Sequence

import numpy as np

from aisys.cost.gpu.timing import Floats, Names
from aisys.machine import Gpu


def constants(
    gpu: Gpu, variants: Names, fields: Sequence[str], chain: Callable[[str, str], tuple[str, ...]]
) -> tuple[dict[str, Floats], frozenset[str]]:
    """The constant of every field for every entry of `variants`, and the keys that were read.

    `chain(variant, field)` names the candidates, most specific first. Raises UnknownName where a device has none.
    """
    first = str(variants[0]) if len(variants) else ""
    same = bool((variants == first).all())
    distinct, index = ([first], None) if same else np.unique(variants, return_inverse=True)
    found = {field: [gpu.constant(*chain(str(name), field)) for name in distinct] for field in fields}
    keys = frozenset(value.key for values in found.values() for value in values)
    if index is None:
        return {field: np.full(len(variants), float(values[0])) for field, values in found.items()}, keys
    return {field: np.array([float(v) for v in values])[index] for field, values in found.items()}, keys
