"""The calibrated tier of every kind of op: the analytic time and interval, corrected by what measured rows taught."""

from dataclasses import replace
from types import ModuleType

import numpy as np

from aisys.cost.gpu.matmul import widening
from aisys.cost.gpu.timing import KernelTiming
from aisys.ir import OpTable
from aisys.machine import Device, Gpu, residual


def corrected(timing: KernelTiming, table: OpTable, device: Device, model: ModuleType) -> KernelTiming:
    """`timing` with the residuals that `device` has; as it was for variants that no row was measured of.

    model: the kind's module, which names the variant and the features of every row. An interval that was learned on
    this device holds for it; one of its generation widens with the distance from the device that was measured.
    """
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    names = model.variants(table)
    time_s, low, high = timing.time_s.copy(), timing.error_low.copy(), timing.error_high.copy()
    keys = set(timing.keys)
    for variant in np.unique(names):
        name = residual.name_of(table.kind, str(variant))
        found = residual.of(gpu, name)
        if found is None:
            continue
        mine = np.flatnonzero(names == variant)
        time_s[mine] *= np.exp(found.log_correction(model.features(table.take(mine), gpu)))
        power = 1.0 if found.is_own else widening(device)
        low[mine], high[mine] = found.error_low**power, found.error_high**power
        if found.is_own:
            keys.add(f"{device.name}.{residual.mean_key(name)}")
    return replace(timing, time_s=time_s, error_low=low, error_high=high, keys=frozenset(keys))
