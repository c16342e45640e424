"""Predicts tables of kind gemm_energy: time, board power and energy of single matrix multiplications run over and over.

Columns: device, dtype, m, n, k, us, watt, board_limit_watt, energy_mJ. Time comes from the constants of the stack
`power` (the libraries of such runs, under sustained load). Power is what a sampler shows (power_sampling): a reading is
of the second before it, and most runs are shorter, so that much of it is of what ran before. The energy of a plan is
the steady one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aisys.cost import Tier, cost
from aisys.cost.gpu import energy, matmul
from aisys.cost.gpu import stack as stacks
from aisys.cost.gpu.timing import by_name
from aisys.errors import AisysError
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.machine import Device, Gpu, load
from aisys.units import MICRO
from aisys.validate import power_sampling
from aisys.validate.gemm import op_table
from aisys.validate.prediction import Compared, Floats, Options, Prediction
from aisys.validate.table import Table

STACK = "power"
FEW_ROWS = 32
_COLUMNS = ("us", "watt", "energy_mJ")


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Seconds, board power and the interval of the energy (factors) of every row."""

    time_s: Floats
    watt: Floats
    low: Floats
    high: Floats


def host_s(ops: OpTable, gpu: Gpu) -> Floats:
    """Least time of kernels that are launched one by one, by their rows: few, a multiple of 4, or to be padded."""
    m = ops["m"]
    names = np.where(m < FEW_ROWS, "few", np.where(m % matmul.ROW_ALIGNMENT == 0, "aligned", "padded"))
    keys = np.char.add(np.char.add(np.char.add("energy.host.", matmul.variants(ops)), "."), names)
    return by_name(keys, lambda key: float(gpu.constants.get(f"{key}_s", 0.0)))


def steady_watt(ops: OpTable, device: Device, tier: Tier) -> tuple[Floats, Floats]:
    """Seconds and steady power of kernels that follow one another; waiting for the host takes the active power."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    priced = cost(ops, device, tier=tier)
    time_s = priced.time_s if tier == "limit" else np.maximum(priced.time_s, host_s(ops, gpu))
    waiting = energy.active_watt(device) * (time_s - priced.time_s)
    return time_s, (priced.energy_joule + waiting) / time_s


def sampled_watt(ops: OpTable, device: Device, watt: Floats, tier: Tier) -> Floats:
    """What the sampler shows of ops of steady power `watt`: the same, where it is not known what ran before them."""
    past = power_sampling.history(ops, device)
    if past is None:
        return watt
    return np.where(past.known, power_sampling.reading(past, device, *steady_watt(past.ops, device, tier)), watt)


def run(ops: OpTable, device: Device, tier: Tier) -> Run:
    """What a sampled run of every op shows."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    variants = matmul.variants(ops)
    if tier == "limit":
        time_s, watt = steady_watt(ops, device, tier)
        low, high = (_constants(gpu, variants, f"limit.error_{side}") for side in ("low", "high"))
        return Run(time_s, watt, low, high)
    time_s, watt = steady_watt(ops, device, tier)
    watt = sampled_watt(ops, device, watt, tier)
    low, high = (_constants(gpu, variants, f"error_{side}") ** matmul.widening(device) for side in ("low", "high"))
    return Run(time_s, np.minimum(watt, float(device.max_watt)), low, high)


def _constants(gpu: Gpu, variants: NDArray[np.str_], name: str) -> Floats:
    return by_name(variants, lambda variant: float(gpu.constants.get(f"energy.{variant}.{name}", np.nan)))


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """The energy of every row in mJ; `others` holds its time and its power."""
    measured = {name: table.numbers(name, above=0.0) for name in _COLUMNS}
    limits = table.numbers("board_limit_watt", above=0.0)
    ops, names = op_table(table), table.texts("device")
    found = {name: np.full(len(table), np.nan) for name in (*_COLUMNS, "low", "high")}
    reasons: dict[int, str] = {}
    for name in np.unique(names):
        rows = np.flatnonzero(names == name)
        for mine in _priceable(ops, rows, str(name), tier, options, reasons):
            device = _device(str(name), options)
            one = run(ops.take(mine), device, tier)
            watt = np.minimum(one.watt, limits[mine])
            joule = watt * one.time_s
            values = (one.time_s / MICRO, watt, joule * 1e3, joule * 1e3 * one.low, joule * 1e3 * one.high)
            for key, value in zip(found, values, strict=True):
                found[key][mine] = value
    unknown = np.full(len(table), np.nan)
    others = {
        name: Compared(predicted=found[name], measured=measured[name], low=unknown, high=unknown)
        for name in ("us", "watt")
    }
    return Prediction(
        predicted=found["energy_mJ"], measured=measured["energy_mJ"], low=found["low"], high=found["high"],
        skipped=tuple(sorted(reasons.items())), group_columns=("device", "dtype"), others=FrozenMap(others),
    )  # fmt: skip


def _device(name: str, options: Options) -> Device:
    return stacks.under(load.device(name, constants=options.constants), STACK)


def _priceable(
    ops: OpTable, rows: NDArray[np.int64], name: str, tier: Tier, options: Options, reasons: dict[int, str]
) -> list[NDArray[np.int64]]:
    """The rows of one device by kernel variant, without variants that it has no arithmetic for; those get a reason."""
    out = []
    variants = matmul.variants(ops)
    for variant in np.unique(variants[rows]):
        mine = rows[variants[rows] == variant]
        try:
            steady_watt(ops.take(mine[:1]), _device(name, options), tier)
        except AisysError as error:
            reasons |= {int(row): str(error) for row in mine}
        else:
            out.append(mine)
    return out
