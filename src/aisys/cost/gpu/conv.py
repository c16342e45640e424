"""Convolution on a GPU as the product of im2col, whose windows are gathered on the way into each tile.

The library is taken to choose as for a matrix product of that shape. The product's reads of overlapping windows are
taken to come from main memory, though the shared cache holds most of them: layers with few channels are predicted too
slow. Never validated, so without an interval.
Source: Chetlur et al. 2014 (cuDNN), implicit GEMM.
"""

from dataclasses import replace

import numpy as np

from aisys.cost.gpu import limit, matmul
from aisys.cost.gpu.timing import KernelTiming
from aisys.ir import OpTable
from aisys.machine import Device


def time(table: OpTable, device: Device) -> KernelTiming:
    """Times of the rows of a conv table, by the model of the product."""
    formats = {name: table[name] for name in ("a_dtype", "b_dtype", "out_dtype", "math")}
    product = OpTable.of(
        "matmul", batch=table["groups"], m=table["batch"] * table["out_h"] * table["out_w"], n=table["out_channels"],
        k=table["in_channels"] * table["kernel_h"] * table["kernel_w"], b_is_weight=table["groups"] == 1, **formats,
    )  # fmt: skip
    found, least, nowhere = matmul.time(product, device), limit.work(table), np.full(len(table), np.nan)
    return replace(found, dram_bytes=least.read_bytes + least.write_bytes, error_low=nowhere, error_high=nowhere)
