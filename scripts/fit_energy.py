"""Fits power and energy of matrix multiplications on measured/gpu_gemm_power.csv and writes them into the catalogue.

    AISYS_TABLES=FOLDER python scripts/fit_energy.py

Per generation (sm90 from H200, sm100 from B200): the time constants of these runs (stack `power`), starting from those
of scripts/fit_matmul.py; the steady energy, on kernels long enough that the sampler sees little else; and what the
sampler reports of all kernels, over the steady power. Printed errors and intervals come from folds by weight shape.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from fit_matmul import FREE, NUM_FOLDS, PAD, PADDED, QUANTISE, Rows
from fitting import Free, changed, fit, interval, summary, tables_folder, unseen, write, write_residuals

from aisys.cost.gpu import matmul
from aisys.cost.gpu import stack as stacks
from aisys.machine import Device, Gpu, load, residual
from aisys.units import MICRO
from aisys.validate import gemm, gemm_energy
from aisys.validate.table import Table, read_table

Values = dict[str, float]
SCRIPT = "scripts/fit_energy.py on gpu_gemm_power.csv"
DEVICES = {"sm90": "H200-SXM-141GB", "sm100": "B200-SXM"}
EAGER = ("sm90 fp8_block",)
"""Runs whose kernels were launched one by one: measured times step with m, not with the work (52, 75 and 84 us)."""
LONG_S, BUSY_SHARE = 60 * MICRO, 0.5
"""Runs that say something of steady power: the sampler saw little else, and not the idle time before them."""
NOISE, SLOPE = 0.5, 0.45
"""Of the sampler's residual, by error on unseen shapes."""

_STEADY = (
    Free("energy.active_share", 0.2, 0.1, 0.35), Free("energy.joule_per_dram_byte", 80e-12, 20e-12, 200e-12),
    Free("energy.bf16.joule_per_flop", 0.7e-12, 0.2e-12, 2e-12),
)  # fmt: skip
PER_BF16 = {
    "none": 0.0, "fp64": 13.0, "fp32": 6.5, "tf32": 2.3, "bf16": 1.0, "fp16": 1.0, "int8": 0.5, "fp8": 0.5,
    "fp8_block": 0.53, "nvfp4": 0.28, "mxfp4": 0.28, "int4": 0.28,
}  # fmt: skip
"""Energy of one operation over one in bf16. Source: assumed; the formats' peak rates at one board power."""
CHIP_JOULE_PER_BYTE = 6e-12
"""Between shared cache and multiprocessors. Source: assumed."""
BASES = {"sm80": "sm90", "sm86": "sm90", "sm89": "sm90", "sm120": "sm100", "gfx90a": "sm90", "gfx942": "sm90",
         "sm60": "sm90", "sm61": "sm90", "sm70": "sm90", "sm75": "sm90"}  # fmt: skip
OLDER = {"sm80": 1.4, "sm86": 1.6, "sm89": 1.3, "sm120": 1.2, "gfx90a": 1.8, "gfx942": 1.1, "sm60": 8.0, "sm61": 6.0,
         "sm70": 2.0, "sm75": 1.8}  # fmt: skip
"""Energy of an operation over the base generation. Source: assumed; peak rates and board limits of data sheets."""


@dataclass(frozen=True)
class Runs:
    """Sampled runs of one kernel variant on one device."""

    generation: str
    variant: str
    device: Device = field(repr=False)
    table: Table = field(repr=False)

    @property
    def rows(self) -> Rows:
        """The same as rows of a time fit."""
        ops = gemm.op_table(self.table)
        return Rows(self.generation, self.variant, self.device, ops, self.table.numbers("us") * MICRO)

    @property
    def watt(self) -> np.ndarray:
        """Sampled board power."""
        return self.table.numbers("watt")


def runs(generation: str) -> list[Runs]:
    """The runs of one generation, by variant."""
    table = read_table(tables_folder() / "gpu_gemm_power.csv")
    mine = table.take(table.texts("device") == DEVICES[generation])
    variants = matmul.variants(gemm.op_table(mine))
    device = load.device(DEVICES[generation])
    return [Runs(generation, str(v), device, mine.take(variants == v)) for v in np.unique(variants)]


def time_constants(one: Runs) -> tuple[Values, np.ndarray]:
    """Constants of the stack `power`, and the time of every row by a fit that has not seen its shape."""
    rows = one.rows
    gpu = one.device.architecture
    assert isinstance(gpu, Gpu)
    name = f"{one.generation} {one.variant}"
    if name in EAGER:
        host = _host(one)
        device = changed(one.device, host)
        time_s, _ = gemm_energy.steady_watt(rows.ops, _measured(device), "analytic")
        print(one.device.name, one.variant, "time:", summary(rows.measured, time_s))
        return host, time_s
    extra = () if one.variant == "bf16" else (QUANTISE, *(PAD if name in PADDED else ()))
    pooled = {f.key: float(gpu.constant(f"matmul.{one.variant}.{f.key}")) for f in (*FREE, *extra)}
    free = [replace(f, prior=float(np.clip(pooled[f.key], f.low * 1.01, f.high * 0.99))) for f in (*FREE, *extra)]
    guess = unseen(rows.predict, rows.measured, free, rows.shapes)
    print(one.device.name, one.variant, "time:", summary(rows.measured, guess), flush=True)
    values = fit(rows.predict, rows.measured, free, rows.every)
    return {f"stack.{gemm_energy.STACK}.matmul.{one.variant}.{key}": v for key, v in values.items()}, guess


def _host(one: Runs) -> Values:
    """Medians of short runs by kind of rows; a run is short where the device alone would be done in half the time."""
    rows = one.rows
    device_s = matmul.time(rows.ops, one.device).time_s
    m, short = rows.ops["m"], device_s < rows.measured / 2
    kinds = {
        "few": m < gemm_energy.FEW_ROWS,
        "aligned": (m >= gemm_energy.FEW_ROWS) & (m % matmul.ROW_ALIGNMENT == 0),
        "padded": (m >= gemm_energy.FEW_ROWS) & (m % matmul.ROW_ALIGNMENT != 0),
    }
    return {
        f"energy.host.{one.variant}.{kind}_s": float(np.median(rows.measured[mine & short]))
        for kind, mine in kinds.items()
    }


def _measured(device: Device) -> Device:
    """`device` with some energy constants, where only time is asked for."""
    return changed(device, {"energy.active_share": 0.2, **_energies(0.7e-12, 80e-12)})


def _energies(bf16: float, dram: float) -> Values:
    flop = {f"energy.{name}.joule_per_flop": bf16 * ratio for name, ratio in PER_BF16.items()}
    return {**flop, "energy.joule_per_dram_byte": dram, "energy.joule_per_chip_byte": CHIP_JOULE_PER_BYTE}


def steady(all_runs: list[Runs], time_of: Mapping[str, Values]) -> Values:
    """The steady energy of one generation, on long kernels whose reading is that of a busy board."""
    chosen = []
    for one in all_runs:
        device = stacks.under(changed(one.device, time_of[one.variant]), gemm_energy.STACK)
        rows = one.rows
        mine = np.flatnonzero((rows.measured > LONG_S) & (one.watt > BUSY_SHARE * float(one.device.max_watt)))
        if len(mine):
            chosen.append((rows.ops.take(mine), device, one.watt[mine]))
    watt = np.concatenate([w for _, _, w in chosen])

    def predict(values: Mapping[str, float], some: np.ndarray) -> np.ndarray:
        known = {**_energies(values["energy.bf16.joule_per_flop"], values["energy.joule_per_dram_byte"]), **values}
        powers = [gemm_energy.steady_watt(ops, changed(device, known), "analytic")[1] for ops, device, _ in chosen]
        return np.concatenate(powers)[some]

    values = fit(predict, watt, _STEADY, np.arange(len(watt)))
    print(
        all_runs[0].device.name, "steady power of long kernels:", summary(watt, predict(values, np.arange(len(watt))))
    )
    return {**_energies(values["energy.bf16.joule_per_flop"], values["energy.joule_per_dram_byte"]), **values}


@dataclass(frozen=True)
class Sampled:
    """What readings are over the steady power; the data sheet tier's interval; the power of unseen shapes."""

    correction: residual.Residual
    light: Values
    unseen_watt: np.ndarray = field(repr=False)


def sampler(one: Runs, device: Device, guess: np.ndarray) -> Sampled:
    """The correction of one variant's readings; prints what it misses on unseen shapes, with times `guess`."""
    rows = one.rows
    time_s, watt = gemm_energy.steady_watt(rows.ops, device, "analytic")
    features = gemm_energy.features(rows.ops, device, time_s)
    missed = np.log(one.watt / watt)
    fold = np.random.default_rng(2).permutation(rows.shapes.max() + 1)[rows.shapes] % NUM_FOLDS
    seen = np.zeros(len(watt))
    for number in range(NUM_FOLDS):
        train, test = fold != number, fold == number
        learned = _fit(features[train], missed[train], rows.shapes[train])
        seen[test] = watt[test] * np.exp(learned.log_correction(features[test]))
    seen = np.minimum(seen, float(device.max_watt))
    joule, measured = seen * guess, one.watt * rows.measured
    texts = summary(one.watt, seen), "| energy:", summary(measured, joule)
    print(one.device.name, one.variant, "power:", *texts, flush=True)
    low, high = interval(measured, joule)
    least_s, least_watt = gemm_energy.steady_watt(rows.ops, device, "limit")
    over = np.quantile(measured / (least_s * least_watt), [0.05, 0.95])
    light = {f"energy.{one.variant}.limit.error_{side}": float(over[i]) for i, side in enumerate(("low", "high"))}
    correction = replace(_fit(features, missed, rows.shapes), error_low=low, error_high=high)
    return Sampled(correction, light, seen)


def _fit(features: np.ndarray, missed: np.ndarray, shapes: np.ndarray) -> residual.Residual:
    """A residual whose mean makes the mean relative error of unseen shapes least; readings scatter unevenly."""
    one = residual.fit(features, missed, gemm_energy.LENGTHS, noise=NOISE, slope_weight=SLOPE)
    left = missed - unseen_correction(features, missed, shapes)
    shifts = np.linspace(-0.8, 0.2, 101)
    errors = [np.abs(np.exp(shift - left) - 1).mean() for shift in shifts]
    return replace(one, mean=one.mean + float(shifts[int(np.argmin(errors))]))


def unseen_correction(features: np.ndarray, missed: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """The correction of every row by rows of other shapes."""
    out = np.zeros(len(missed))
    fold = np.random.default_rng(5).permutation(shapes.max() + 1)[shapes] % NUM_FOLDS
    for number in range(NUM_FOLDS):
        train, test = fold != number, fold == number
        one = residual.fit(features[train], missed[train], gemm_energy.LENGTHS, noise=NOISE, slope_weight=SLOPE)
        out[test] = one.log_correction(features[test])
    return out


def main() -> None:
    """Fits both generations, and gives the others what is assumed of them."""
    errors = []
    steady_of: dict[str, Values] = {}
    for generation, name in DEVICES.items():
        all_runs = runs(generation)
        times = {one.variant: time_constants(one) for one in all_runs}
        values = steady_of[generation] = steady(all_runs, {v: constants for v, (constants, _) in times.items()})
        of_time = {key: value for constants, _ in times.values() for key, value in constants.items()}
        device = stacks.under(changed(all_runs[0].device, {**of_time, **values}), gemm_energy.STACK)
        found, light = {}, {}
        for one in all_runs:
            guess = times[one.variant][1]
            sampled = sampler(one, device, guess)
            found[one.variant] = sampled.correction
            light |= sampled.light
            errors.append(np.abs(sampled.unseen_watt * guess / (one.watt * one.rows.measured) - 1))
        write_residuals(f"{generation}.energy", f"{SCRIPT} ({name})", found)
        marked = {**values, **of_time, **light, "energy.has_residual": 1.0}
        write(f"{generation}.energy", [(f"{SCRIPT} ({name})", "fitted", marked)])
    print(f"energy of all rows, unseen shapes: mape {100 * np.concatenate(errors).mean():.1f} %")
    for generation, base in BASES.items():
        values = steady_of[base]
        per_flop = {k: v * OLDER[generation] if k.endswith("_flop") else v for k, v in values.items()}
        write(f"{generation}.energy", [(f"{base} times what data sheets say of peak per watt", "assumed", per_flop)])


if __name__ == "__main__":
    main()
