"""Fits power and energy of matrix multiplications on measured/gpu_gemm_power.csv and writes them into the catalogue.

    AISYS_TABLES=FOLDER python scripts/fit_energy.py

Per generation (sm90 from H200, sm100 from B200): the time constants of these runs (stack `power`), starting from those
of scripts/fit_matmul.py; and the energies of kernels, with time and power of setting a run up, from what the sampler
shows of every run after the runs before it. Printed errors and intervals come from folds by weight shape.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from fit_matmul import FREE, NUM_FOLDS, PAD, PADDED, QUANTISE, Rows
from fitting import Free, changed, fit, interval, summary, tables_folder, unseen, write

from aisys.cost.gpu import energy, matmul
from aisys.cost.gpu import stack as stacks
from aisys.machine import Device, Gpu, load
from aisys.units import MICRO
from aisys.validate import gemm, gemm_energy, power_sampling
from aisys.validate.table import Table, read_table

Values = dict[str, float]
SCRIPT = "scripts/fit_energy.py on gpu_gemm_power.csv"
DEVICES = {"sm90": "H200-SXM-141GB", "sm100": "B200-SXM"}
EAGER = ("sm90 fp8_block",)
"""Runs whose kernels were launched one by one: measured times step with m, not with the work (52, 75 and 84 us)."""
BF16_JOULE_PER_FLOP = 0.7e-12
"""Where a fit starts."""
PER_BF16 = {
    "none": 0.0, "fp64": 13.0, "fp32": 6.5, "tf32": 2.3, "bf16": 1.0, "fp16": 1.0, "int8": 0.5, "fp8": 0.5,
    "fp8_block": 0.53, "nvfp4": 0.28, "mxfp4": 0.28, "int4": 0.28,
}  # fmt: skip
"""Energy of one operation over one in bf16. Source: assumed; the formats' peak rates at one board power."""
ALIKE = {"int8": "fp8", "fp8_block": "fp8", "mxfp4": "nvfp4", "int4": "nvfp4"}
"""Formats whose ratio is to another than bf16."""
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


def table_of(generation: str) -> Table:
    """The rows of one generation's device."""
    table = read_table(tables_folder() / "gpu_gemm_power.csv")
    return table.take(table.texts("device") == DEVICES[generation])


def runs(generation: str) -> list[Runs]:
    """The runs of one generation, by variant."""
    table = table_of(generation)
    variants = matmul.variants(gemm.op_table(table))
    device = load.device(DEVICES[generation])
    return [Runs(generation, str(v), device, table.take(variants == v)) for v in np.unique(variants)]


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
    return changed(device, {"energy.active_share": 0.2, "energy.joule_per_dram_byte": 80e-12,
                            "energy.joule_per_chip_byte": 10e-12, **_energies({})})  # fmt: skip


def _energies(values: Mapping[str, float]) -> Values:
    """Energy per operation of every format: the fitted ones, and the others by their ratio to the nearest fitted."""
    flop = {name: values.get(f"energy.{name}.joule_per_flop") for name in PER_BF16}
    bf16 = flop["bf16"] or BF16_JOULE_PER_FLOP
    found = {}
    for name, ratio in PER_BF16.items():
        near = ALIKE.get(name, "bf16")
        found[name] = flop[name] or (flop[near] or bf16 * PER_BF16[near]) * ratio / PER_BF16[near]
    return {f"energy.{name}.joule_per_flop": value for name, value in found.items()}


def free_constants(all_runs: list[Runs]) -> list[Free]:
    """What the readings of one generation are fitted with: energies, and time and power of setting a run up."""
    most = float(all_runs[0].device.max_watt)
    variants = [one.variant for one in all_runs]
    maths = sorted({str(math) for one in all_runs for math in one.rows.ops["math"]})
    per_flop = {math: PER_BF16[math] * BF16_JOULE_PER_FLOP for math in maths}
    setup = {
        "sm90": [Free(f"energy.sampling.{name}.s_per_element", 1.3e-12, 0.3e-12, 10e-12) for name in variants],
        "sm100": [
            Free("energy.sampling.nvfp4.s_per_element", 1e-8, 1e-9, 1e-7),
            Free("energy.sampling.fp8_block.pause_s", 0.25, 0.01, 2.0),
        ],
    }
    return [
        Free("energy.active_share", 0.25, 0.1, 0.5), Free("energy.joule_per_dram_byte", 80e-12, 20e-12, 200e-12),
        Free("energy.joule_per_chip_byte", 12e-12, 1e-12, 80e-12),
        *(Free(f"energy.{name}.joule_per_flop", value, value / 3, value * 3) for name, value in per_flop.items()),
        Free("energy.sampling.setup_s", 0.04, 0.005, 0.3),
        Free("energy.sampling.setup_watt", 0.2 * most, 0.1 * most, 0.4 * most), *setup[all_runs[0].generation],
    ]  # fmt: skip


class Readings:
    """Sampled power of the rows of one generation, as a function of what is fitted."""

    def __init__(self, table: Table, device: Device) -> None:
        self.device = device
        self.measured = table.numbers("watt")
        self.ops = gemm.op_table(table)
        past = power_sampling.history(self.ops, device)
        assert past is not None
        self.past = past
        self.timing = matmul.time(past.ops, device)
        self.time_s = gemm_energy.steady_watt(past.ops, _measured(device), "analytic")[0]

    def steady(self, values: Mapping[str, float]) -> tuple[Device, np.ndarray]:
        """The device under `values`, and the steady power of every run that counts."""
        device = changed(self.device, {**_energies(values), **values})
        waiting = energy.active_watt(device) * (self.time_s - self.timing.time_s)
        return device, (energy.joule(self.timing, device) + waiting) / self.time_s

    def predict(self, values: Mapping[str, float], some: np.ndarray) -> np.ndarray:
        """Readings of the rows `some`."""
        device, watt = self.steady(values)
        return power_sampling.reading(self.past.take(some), device, self.time_s, watt)


def power_constants(readings: Readings, free: list[Free]) -> tuple[Values, np.ndarray]:
    """Energies and set-up of one generation, and the power of every row by a fit that has not seen its shape."""
    shape = np.stack([readings.ops["n"], readings.ops["k"]])
    _, shapes = np.unique(shape, axis=1, return_inverse=True)
    fold = np.random.default_rng(2).permutation(shapes.max() + 1)[shapes] % NUM_FOLDS
    watt, seen = readings.measured, np.zeros(len(shapes))
    for number in range(NUM_FOLDS):
        values = fit(readings.predict, watt, free, np.flatnonzero(fold != number), 1)
        test = np.flatnonzero(fold == number)
        seen[test] = readings.predict(values, test)
    values = fit(readings.predict, watt, free, np.arange(len(watt)), 1)
    return {**values, **_energies(values)}, seen


@dataclass(frozen=True)
class Studied:
    """One generation: its runs, everything fitted on them, and time and power of unseen shapes by variant."""

    runs: list[Runs]
    constants: Values
    device: Device = field(repr=False)
    unseen: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(repr=False)


def study(generation: str) -> Studied:
    """Fits the constants of one generation and prints what they miss on unseen shapes."""
    all_runs, table = runs(generation), table_of(generation)
    times = {one.variant: time_constants(one) for one in all_runs}
    of_time = {key: value for constants, _ in times.values() for key, value in constants.items()}
    device = stacks.under(changed(all_runs[0].device, of_time), gemm_energy.STACK)
    readings = Readings(table, device)
    values, watt = power_constants(readings, free_constants(all_runs))
    device = changed(device, values)
    variants, found, errors = matmul.variants(readings.ops), {}, {}
    for one in all_runs:
        most = float(device.max_watt)
        time_s, seen = found[one.variant] = times[one.variant][1], np.minimum(watt[variants == one.variant], most)
        measured, joule = one.watt * one.rows.measured, time_s * seen
        texts = summary(one.watt, seen), "| energy:", summary(measured, joule)
        print(device.name, one.variant, "power:", *texts, flush=True)
        least_s, least_watt = gemm_energy.steady_watt(one.rows.ops, device, "limit")
        over = np.quantile(measured / (least_s * least_watt), [0.05, 0.95])
        for side, limit, ours in zip(("low", "high"), over, interval(measured, joule), strict=True):
            errors[f"energy.{one.variant}.limit.error_{side}"] = float(limit)
            errors[f"energy.{one.variant}.error_{side}"] = float(ours)
    return Studied(all_runs, {**of_time, **values, **errors}, device, found)


def main() -> None:
    """Fits both generations, and gives the others what is assumed of them."""
    errors = []
    studied = {generation: study(generation) for generation in DEVICES}
    for generation, one in studied.items():
        write(f"{generation}.energy", [(f"{SCRIPT} ({DEVICES[generation]})", "fitted", one.constants)])
        for run in one.runs:
            time_s, watt = one.unseen[run.variant]
            errors.append(np.abs(time_s * watt / (run.watt * run.rows.measured) - 1))
    print(f"energy of all rows, unseen shapes: mape {100 * np.concatenate(errors).mean():.1f} %")
    for generation, base in BASES.items():
        plain = {k: v for k, v in studied[base].constants.items() if _is_of_kernels(k)}
        scaled = {k: v * OLDER[generation] if k.endswith("_flop") else v for k, v in plain.items()}
        write(f"{generation}.energy", [(f"{base} times what data sheets say of peak per watt", "assumed", scaled)])


def _is_of_kernels(key: str) -> bool:
    """Whether a constant speaks of energy, and not of these runs or of what a fit missed."""
    return key.startswith("energy.") and not any(part in key for part in (".sampling.", ".error_", ".host."))


if __name__ == "__main__":
    main()
