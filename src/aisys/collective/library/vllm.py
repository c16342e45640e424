"""vLLM under CUDA graphs: its one-shot, two-shot and multicast all-reduce kernels by size, and NCCL for the rest.

Source: vllm-project/vllm 0.24.0, distributed/device_communicators/all_reduce_utils.py, csrc/custom_all_reduce.cuh.
"""

from aisys.collective.layout import Rows
from aisys.collective.library import kernels
from aisys.collective.types import Price
from aisys.machine import Link


def price(rows: Rows, link: Link, network: Link | None) -> Price:
    """Time, interval and algorithm of each row."""
    return kernels.price_with("vllm", rows, link, network)
