"""90 % intervals on time, as factors: fitted quantiles of measured / predicted, by kind, variant and regime."""

import numpy as np

from aisys.cost.gpu.matmul import variants
from aisys.cost.gpu.timing import Floats, by_name
from aisys.ir import OpTable
from aisys.machine import Device, Gpu


def of_limit(table: OpTable, device: Device) -> tuple[Floats, Floats]:
    """How far above the speed of light measured kernels of this kind lie; NaN where no table was ever compared."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    names = variants(table) if table.kind == "matmul" else np.full(len(table), "")

    def bound(name: str, side: str) -> float:
        keys = (f"{table.kind}.{name}.limit.error_{side}", f"{table.kind}.limit.error_{side}")
        return float(next((gpu.constants[key] for key in keys if key in gpu.constants), np.nan))

    return by_name(names, lambda name: bound(name, "low")), by_name(names, lambda name: bound(name, "high"))
