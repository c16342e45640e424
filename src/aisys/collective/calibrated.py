"""Times of a library on one link, corrected by what collectives measured on that link taught."""

from dataclasses import replace

import numpy as np

from aisys.collective.layout import Rows
from aisys.collective.types import OPS, Floats, Price
from aisys.machine import Link, residual

LENGTHS = np.array([1.0, 0.7])
"""Distances of `features` over which errors are alike, chosen on unseen sizes of NCCL on NVSwitch."""


def features(rows: Rows) -> Floats:
    """What residuals are learned over [rows, 2]: log2 of the buffer's bytes and of the number of ranks."""
    return np.stack([np.log2(np.maximum(rows.num_bytes, 1)), np.log2(rows.num_ranks)], axis=1)


def residual_name(library: str, op: int) -> str:
    """The residual of an op (index in OPS) under a library."""
    return residual.name_of("collective", OPS[op], library)


def corrected(price: Price, rows: Rows, link: Link, library: str) -> Price:
    """`price` of rows inside a node with the residuals that were attached to `link`; as it was where there are none."""
    if not residual.has_own(link.constants):
        return price
    found = {op: residual.own(link.constants, residual_name(library, op)) for op in range(len(OPS))}
    time_s, low, high = price.time_s.copy(), price.error_low.copy(), price.error_high.copy()
    keys = set(price.keys)
    for op, one in found.items():
        mine = np.flatnonzero((rows.op == op) & (rows.num_nodes == 1) & (rows.num_bytes > 0))
        if one is not None and len(mine):
            time_s[mine] *= np.exp(one.log_correction(features(rows.take(mine))))
            low[mine], high[mine] = one.error_low, one.error_high
            keys.add(f"{link.name}.{residual.mean_key(residual_name(library, op))}")
    return replace(price, time_s=time_s, error_low=low, error_high=high, keys=frozenset(keys))
