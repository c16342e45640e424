"""TensorRT-LLM: the fastest of its one-shot and two-shot all-reduce kernels and NCCL.

Source: NVIDIA/TensorRT-LLM 1.3, cpp/tensorrt_llm/kernels/customAllReduceKernels.cu (strategy AUTO).
"""

from aisys.collective.layout import Rows
from aisys.collective.library import kernels
from aisys.collective.types import Price
from aisys.machine import Link


def price(rows: Rows, link: Link, network: Link | None) -> Price:
    """Time, interval and algorithm of each row."""
    return kernels.price_with("tensorrt_llm", rows, link, network)
