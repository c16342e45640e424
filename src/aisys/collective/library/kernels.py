"""All-reduce kernels of serving frameworks, which read the peers' memory directly, with NCCL for the rest."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import log2

import numpy as np
from numpy.typing import NDArray

from aisys.collective.layout import Rows
from aisys.collective.library import nccl
from aisys.collective.library.reference import constants_of
from aisys.collective.types import Floats, Price
from aisys.machine import Link

NAMES = np.array(["nccl", "one_shot", "two_shot", "multimem"])
KERNELS = ("one_shot", "two_shot", "multimem")
SHORT_BYTES = 2**20

Points = tuple[tuple[float, ...], tuple[float, ...]]
"""Known abscissae in order, and a value for each, which holds up to the next."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KernelConstants:
    """The constants of one framework on one link.

    base_s, step_s (for each peer), efficiency (share of the link's bandwidth): arrays [KERNELS],
    NaN for a kernel that the framework has not. from_bytes, to_bytes:
    log2 of the number of ranks, and log2 of the buffers for which the kernel runs, half open; empty where the framework
    takes the fastest. nccl_factor, nccl_short_factor: its NCCL calls beside nccl-tests, from SHORT_BYTES on and below,
    by log2 of the number of ranks. error: the 90 % interval.
    """

    bandwidth_bytes_per_s: float
    base_s: Floats
    step_s: Floats
    efficiency: Floats
    from_bytes: tuple[Points, ...]
    to_bytes: tuple[Points, ...]
    nccl_factor: Points
    nccl_short_factor: Points
    error: tuple[float, float]
    keys: frozenset[str] = frozenset()


def price_with(library: str, rows: Rows, link: Link, network: Link | None) -> Price:
    """Time of each row with the kernels of `library` on `link`, and NCCL wherever they do not run."""
    found = kernel_constants(link, library)
    base = nccl.price(rows, link, network)
    time_s, chosen = duration_s(rows, base.time_s, found)
    is_own = (rows.op == 0) & (rows.num_nodes == 1)
    low, high = found.error
    return Price(
        time_s=time_s,
        error_low=np.where(is_own, low, base.error_low), error_high=np.where(is_own, high, base.error_high),
        algorithm=np.where(chosen == 0, base.algorithm, NAMES[chosen]), keys=base.keys | found.keys,
    )  # fmt: skip


def duration_s(rows: Rows, nccl_s: Floats, found: KernelConstants) -> tuple[Floats, NDArray[np.int64]]:
    """Time of each row, and the index in NAMES of what runs."""
    ranks, size = rows.num_ranks, rows.num_bytes
    wire = np.stack([ranks - 1, 2 * (ranks - 1) / ranks, np.ones(len(size))])
    own = found.base_s[:, None] + found.step_s[:, None] * (ranks - 1)
    own = own + wire * size / (found.efficiency[:, None] * found.bandwidth_bytes_per_s)
    runs = _runs(rows, found) & (rows.op == 0) & (rows.num_nodes == 1) & (ranks > 1)
    is_local_reduce = (rows.op == 0) & (rows.num_nodes == 1)
    known = np.log2(ranks)
    factor = np.where(size < SHORT_BYTES, _step(known, *found.nccl_short_factor), _step(known, *found.nccl_factor))
    fallback = np.where(is_local_reduce, nccl_s * factor, nccl_s)
    if found.to_bytes:
        times = np.where(runs, own, np.inf)
        best = np.argmin(times, axis=0)
        chosen = np.where(runs.any(axis=0), best + 1, 0)
        return np.where(chosen > 0, times.min(axis=0), fallback), chosen
    times = np.vstack([fallback, np.where(runs, own, np.inf)])
    return times.min(axis=0), np.argmin(times, axis=0)


def _runs(rows: Rows, found: KernelConstants) -> NDArray[np.bool_]:
    """Whether each kernel runs for each row, array [KERNELS, rows]."""
    has = np.broadcast_to(np.isfinite(found.efficiency)[:, None], (len(KERNELS), len(rows.num_bytes)))
    if not found.to_bytes:
        return has
    ranks, size = np.log2(rows.num_ranks), np.log2(np.maximum(rows.num_bytes, 1))
    least = np.stack([_step(ranks, *points) for points in found.from_bytes])
    most = np.stack([_step(ranks, *points) for points in found.to_bytes])
    return np.asarray(has & (size >= least) & (size < most))


def _step(ranks: Floats, known: tuple[float, ...], values: tuple[float, ...]) -> Floats:
    """The value of the largest known number of ranks that is not above `ranks`; the first below all of them."""
    if not known:
        return np.zeros(len(ranks))
    return np.asarray(values)[np.maximum(np.searchsorted(known, ranks, side="right") - 1, 0)]


@lru_cache(maxsize=256)
def kernel_constants(link: Link, library: str) -> KernelConstants:
    """The constants of `library` on `link`; those of the reference link of its technology where it has none."""
    found, keys = constants_of(link, library)
    return from_mapping(found, float(link.bandwidth_bytes_per_s), keys)


def from_mapping(found: Mapping[str, float], bandwidth: float, keys: frozenset[str] = frozenset()) -> KernelConstants:
    """The constants in `found`, by their names without the library's."""
    has_ranges = any(".to_bytes." in key for key in found)
    fields = ("base_s", "step_s", "efficiency")
    columns = {f: np.array([float(found.get(f"{k}.{f}", np.nan)) for k in KERNELS]) for f in fields}
    return KernelConstants(
        bandwidth_bytes_per_s=bandwidth, **columns,
        from_bytes=tuple(_log2(_points(found, f"{k}.from_bytes.")) for k in KERNELS) if has_ranges else (),
        to_bytes=tuple(_log2(_points(found, f"{k}.to_bytes.")) for k in KERNELS) if has_ranges else (),
        nccl_factor=_points(found, "nccl_factor."), nccl_short_factor=_points(found, "nccl_short_factor."),
        error=(float(found.get("error_low", 1)), float(found.get("error_high", 1))), keys=keys,
    )  # fmt: skip


def _points(found: Mapping[str, float], prefix: str) -> Points:
    points = sorted((log2(int(k.removeprefix(prefix))), float(v)) for k, v in found.items() if k.startswith(prefix))
    return tuple(x for x, _ in points), tuple(y for _, y in points)


def _log2(points: Points) -> Points:
    return points[0], tuple(log2(value) for value in points[1])
