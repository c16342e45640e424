"""How long each block takes on one device under a framework: what its kernels, its transfers and its host add."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aisys.lower.blocks import CATEGORIES, COMPUTE, PRODUCTS
from aisys.lower.framework import Framework
from aisys.plan import PlanTable

Floats = NDArray[np.float64]
_COMPUTE = np.array([category in COMPUTE for category in CATEGORIES])
_PRODUCT = np.array([category in PRODUCTS for category in CATEGORIES])
_TENSOR = CATEGORIES.index("tensor")


@dataclass(frozen=True, eq=False, kw_only=True)
class Priced:
    """Fields of Shares side by side, with one leading axis for choices of sharding."""

    time_s: Floats
    fp8_s: Floats
    hideable_s: Floats
    num_kernels: Floats
    num_transfers: Floats


@dataclass(frozen=True, eq=False, kw_only=True)
class BlockTimes:
    """device_s, host_s: arrays [choices, blocks, DIRECTIONS]: what keeps the device, and the host that drives it, busy.

    parts_s: [choices, blocks, CATEGORIES], device time of both directions by what it goes to.
    """

    device_s: Floats
    host_s: Floats
    parts_s: Floats


def block_times(priced: Priced, framework: Framework) -> BlockTimes:
    """Times of one microbatch in every block, before weights are waited for."""
    parts = priced.time_s * _factors(framework)
    parts[..., _PRODUCT] += priced.fp8_s * _fp8_extra(framework)
    parts[..., _TENSOR] = _tensor_s(parts, priced.hideable_s, framework)
    per_kernel = np.array([framework.host_s_per_forward_kernel, framework.host_s_per_backward_kernel], float)
    host = priced.num_kernels * per_kernel + priced.num_transfers * float(framework.host_s_per_transfer)
    return BlockTimes(device_s=parts.sum(-1), host_s=host, parts_s=parts.sum(-2))


def both(device_s: Floats, host_s: Floats, tensor: Floats, framework: Framework) -> Floats:
    """Time of a device and the host that launches its kernels: each hides the other, the less the closer they are, and
    the less the more tensor ranks wait for one another's hosts at every transfer. Arrays [2, plans, virtual stages];
    tensor: the degree, [plans].
    """
    n = np.maximum(1.0, float(framework.host_exponent) / np.sqrt(tensor))[:, None]
    longer, shorter = np.maximum(device_s, host_s), np.minimum(device_s, host_s)
    ratio = np.divide(shorter, longer, out=np.zeros_like(longer), where=longer > 0)
    together: Floats = longer * (1.0 + ratio**n) ** (1.0 / n)
    return together


def slowest(plans: PlanTable, framework: Framework) -> Floats:
    """How much longer the slowest device of a plan takes than an average one, array [plans].

    Devices differ by `device_spread` (relative standard deviation); a synchronous step waits for the slowest of N,
    which stands about sqrt(2 ln N) deviations off. Source: Cramer 1946, extremes of a normal sample.
    """
    devices = plans["tensor"] * plans["pipeline"] * plans["data"] * plans["context"]
    pace: Floats = 1.0 + float(framework.device_spread) * np.sqrt(2.0 * np.log(devices.astype(np.float64)))
    return pace


def _factors(framework: Framework) -> Floats:
    """What each category's time is multiplied with."""
    own = {
        "stream": framework.stream_factor, "attention": framework.attention_factor,
        "grouped_matmul": framework.expert_factor,
    }  # fmt: skip
    compute = [float(framework.compute_factor) * float(own.get(category, 1.0)) for category in CATEGORIES]
    return np.where(_COMPUTE, compute, 1.0)


def _fp8_extra(framework: Framework) -> Floats:
    """What a product in fp8 takes beyond its share at the factor of 16 bits."""
    fp8 = np.array([framework.fp8_factor, framework.expert_fp8_factor], float)
    in_sixteen_bits = np.array([1.0, framework.expert_factor], float)
    extra: Floats = float(framework.compute_factor) * (fp8 - in_sixteen_bits)
    return extra


def _tensor_s(parts: Floats, hideable: Floats, framework: Framework) -> Floats:
    """What tensor-parallel transfers add: those beside weight gradients, and a share of the others, may run under
    products, which they slow."""
    products, waiting = parts[..., _PRODUCT].sum(-1), parts[..., _TENSOR]
    hidden = np.minimum(hideable * float(framework.async_overlap), products)
    hidden = hidden + np.minimum(waiting * float(framework.tensor_overlap), products - hidden)
    seen: Floats = waiting + hideable - hidden + hidden * (float(framework.slowdown) - 1.0)
    return seen
