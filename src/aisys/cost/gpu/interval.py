"""90 % intervals on time, as factors: fitted quantiles of measured / predicted, by kind, variant and regime."""

import numpy as np

from aisys.cost.gpu.timing import Floats
from aisys.ir import OpTable
from aisys.machine import Device, Gpu


def of_limit(table: OpTable, device: Device) -> tuple[Floats, Floats]:
    """How far above the speed of light measured kernels of this kind lie; NaN where no table was ever compared."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    low, high = (gpu.constants.get(f"{table.kind}.limit.error_{side}", np.nan) for side in ("low", "high"))
    return np.full(len(table), float(low)), np.full(len(table), float(high))
