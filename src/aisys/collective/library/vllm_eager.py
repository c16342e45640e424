"""vLLM without CUDA graphs: the host launches each all-reduce, and copies buffers in and out of registered memory."""

from dataclasses import replace

import numpy as np

from aisys.collective.layout import Rows
from aisys.collective.library import kernels
from aisys.collective.library.reference import constants_of
from aisys.collective.types import Price
from aisys.machine import Link


def price(rows: Rows, link: Link, network: Link | None) -> Price:
    """Time, interval and algorithm: what the graph takes and two copies, or the launch where it is longer."""
    found, keys = constants_of(link, "vllm_eager")
    inner = kernels.price_with("vllm", rows, link, network)
    copied = inner.time_s + 2 * rows.num_bytes / float(found["copy_bytes_per_s"])
    low, high = float(found["error_low"]), float(found["error_high"])
    return replace(
        inner, time_s=np.maximum(copied, float(found["launch_s"])), keys=inner.keys | keys,
        error_low=np.full(len(copied), low), error_high=np.full(len(copied), high),
    )  # fmt: skip
