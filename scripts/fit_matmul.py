"""Fits the constants of matrix multiplication on measured tables and writes them into the catalogue.

    AISYS_TABLES=FOLDER python scripts/fit_matmul.py

A100, H100 and B200: every number format of measured/gpu_gemm.csv, starting from bf16 of the same device. Other
generations: the rows that other tables hold, near A100. A format without rows takes the step from bf16 that it makes on
a generation where it was measured. Intervals and the printed errors come from folds by weight shape (n, k) that the
fit has not seen. The `transfer` files hold what a generation gets from an older one and from its documents.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import fitting
import numpy as np
from fitting import Free, bare, fit, interval, summary, tables_folder, unseen, write, write_residuals

from aisys.cost.gpu import limit, matmul
from aisys.ir import OpTable
from aisys.machine import Device, load, residual
from aisys.validate import gemm, gpu_op, gpu_op_fp32, transformer_layer, transformer_op
from aisys.validate.gpu_rows import Part
from aisys.validate.table import Table, read_table

Values = dict[str, float]
SCRIPT = "scripts/fit_matmul.py"
NUM_FOLDS = 5
DEVICES = {"sm80": "A100-SXM4-80GB", "sm90": "H100-SXM5-80GB", "sm100": "B200-SXM"}

STRUCTURE = {
    "b_share": 1.0, "quantise_bytes": 0.0, "dequantise_clocks": 0.0, "pad_s": 0.0, "pad_bytes": 0.0,
    "is_column_walk": 0.0,
}  # fmt: skip
OF_GENERATION: dict[str, Values] = {"sm100": {"b_share": 0.5}}
"""Blackwell's paired multiprocessors each load half of the b tile (NVIDIA PTX ISA 8.7, tcgen05 with cta_group::2)."""
TRANSFER: dict[str, Values] = {"sm100": {"tile_s": 1e-8, "epilogue_bytes_per_clock": 500.0}}
"""Blackwell accumulates in tensor memory, so that the ends of one tile hide behind the next (PTX ISA 8.7)."""
COLUMN_WALKS = ("sm90 int8_wo",)
"""Mixed-input kernel of TensorRT-LLM on Hopper: measured times follow m x k, not n, while n fits one wave."""

FREE = (
    Free("compute_efficiency", 0.88, 0.3, 1.0), Free("memory_efficiency", 0.8, 0.4, 0.98),
    Free("l2_bytes_per_clock_per_sm", 50, 10, 150), Free("launch_s", 2.5e-6, 5e-7, 5e-5),
    Free("tile_s", 3e-7, 1e-8, 3e-6), Free("epilogue_bytes_per_clock", 30, 2, 500),
    Free("k_latency_s", 2e-9, 1e-10, 1e-8), Free("wave_softness", 0.3, 1e-3, 1.0), Free("split_s", 2.5e-6, 1e-7, 2e-5),
    Free("overlap_loss", 0.15, 0.01, 0.6), Free("joule_per_flop", 0.9e-12, 0.05e-12, 4e-11),
)  # fmt: skip
QUANTISE, DEQUANTISE = Free("quantise_bytes", 5, 0.5, 20), Free("dequantise_clocks", 0.03, 1e-3, 3)
SCALAR = Free("l2_bytes_per_clock_per_sm", 12, 2, 150)
"""fp32 without tensor cores: registers and shared memory feed less per clock."""
PAD = (Free("pad_s", 1.5e-6, 1e-8, 2e-5), Free("pad_bytes", 2, 0.05, 12))
PADDED = ("sm100 fp8_block",)
"""Kernels with scales per block whose launcher pads rows: measured times step up where m is no multiple of 4."""
STEPS: dict[str, Values] = {
    "fp8": {"joule_per_flop": 0.5, "k_latency_s": 0.5, "launch_s": 4}, "int8": {"joule_per_flop": 0.5, "launch_s": 4},
    "nvfp4": {"joule_per_flop": 0.25, "k_latency_s": 0.5, "launch_s": 2}, "fp8_block": {"joule_per_flop": 0.5},
    "int8_wo": {"launch_s": 4}, "int4_wo": {"launch_s": 4},
}  # fmt: skip
"""Priors of a variant, relative to bf16 on the same device: narrow formats, and kernels that quantise first."""

PARTS: dict[str, Callable[[Table], Sequence[Part]]] = {
    "vidur_mlp": lambda table: transformer_op.parts(table)[0],
    "llmservingsim_layers": lambda table: transformer_layer.parts(table)[0],
    "llmcompass_ops": lambda table: gpu_op.work(table).parts,
    "neusight_fp32_ops": lambda table: gpu_op_fp32.parts(table)[0],
}
FEW: dict[str, tuple[str, str, Values]] = {
    "sm86 bf16": ("vidur_mlp", "a40", {}),
    "sm89 bf16": ("llmservingsim_layers", "RTX4090", {"compute_efficiency": 0.95}),
    "sm120 bf16": ("llmservingsim_layers", "RTXPRO6000", {"joule_per_flop": 1.5e-12}),
    "gfx90a bf16": ("llmcompass_ops", "AMD MI210", {"launch_s": 3e-5, "compute_efficiency": 0.6}),
    "sm60 fp32": ("neusight_fp32_ops", "Tesla P100-PCIE-16GB", {"joule_per_flop": 8e-12, "launch_s": 1e-5}),
    "sm61 fp32": ("neusight_fp32_ops", "Tesla P4", {"joule_per_flop": 8e-12, "launch_s": 1e-5}),
    "sm70 fp32": ("neusight_fp32_ops", "Tesla V100-PCIE-32GB", {"joule_per_flop": 8e-12, "launch_s": 1e-5}),
    "sm75 fp32": ("neusight_fp32_ops", "Tesla T4", {"joule_per_flop": 8e-12, "launch_s": 1e-5}),
    "sm80 fp32": ("neusight_fp32_ops", "NVIDIA A100-PCIE-40GB", {"joule_per_flop": 8e-12, "launch_s": 1e-5}),
}
"""Generation and variant to the table and the device of its rows, and to priors other than what A100 has in bf16."""
KNOWN = {
    "sm89 bf16": ("sm80 bf16", ("launch_s", "k_latency_s")),
    "sm120 bf16": ("sm89 bf16", ("compute_efficiency", "launch_s", "k_latency_s")),
}
"""Constants that the rows of a generation cannot tell, and whose they are: all of these take longer than 30 us, and the
power limit of RTX PRO 6000 hides its efficiency at the full clock (the same kernels run on RTX 4090, never limited)."""
LIGHT = "limit.error_high"
"""How far above the data sheet's time the measured ones lie; of the few rows, none is short: those are as on A100."""
POWER_AS = {"sm89 bf16": "sm120 bf16"}
"""RTX 4090 never meets its limit; its joule_per_flop is that of the next chip on the same process."""
MEASURED_ON = {
    "fp32": "sm80", "fp8": "sm90", "fp8_block": "sm90", "int8": "sm80", "int8_wo": "sm80", "int4_wo": "sm80",
    "nvfp4": "sm100",
}  # fmt: skip
FP32_JOULE_PER_FLOP = {"sm86": 6e-12, "sm89": 7e-12, "sm90": 4e-12, "sm100": 3e-12, "sm120": 6e-12}
"""At the full clock. Source: assumed; between the boards' power per peak flop and what the fit finds for T4 (12 nm)."""
BASES = {
    **{g: g for g in ("sm80", "sm86", "sm89", "sm90", "sm100", "sm120", "gfx90a")}, "gfx942": "gfx90a",
    "sm60": "sm80", "sm61": "sm80", "sm70": "sm80", "sm75": "sm80",
}  # fmt: skip
"""Generation to the one whose bf16 constants stand for every variant without its own."""
WIDER = 3
"""Power on the factors of an interval that another generation or variant gave. Source: assumed."""


@dataclass(frozen=True)
class Rows:
    """Measured matmuls of one kernel variant on one device."""

    generation: str
    variant: str
    device: Device = field(repr=False)
    ops: OpTable = field(repr=False)
    measured: np.ndarray = field(repr=False)

    @property
    def shapes(self) -> np.ndarray:
        """The weight shape of every row, as a number."""
        return np.unique(np.stack([self.ops["n"], self.ops["k"]]), axis=1, return_inverse=True)[1].ravel()

    @property
    def every(self) -> np.ndarray:
        """The indices of all rows."""
        return np.arange(len(self.measured))

    @property
    def name(self) -> str:
        """Generation and variant."""
        return f"{self.generation} {self.variant}"

    @property
    def fixed(self) -> Values:
        """What is not fitted."""
        walk = {"is_column_walk": 1.0} if self.name in COLUMN_WALKS else {}
        intervals_ = {name: 1.0 for name in matmul.FIELDS if "_error_" in name}
        return {**STRUCTURE, **OF_GENERATION.get(self.generation, {}), **walk, **intervals_}

    def floor(self, rows: np.ndarray) -> np.ndarray:
        """The data sheet's time of the chosen rows."""
        least = limit.work(self.ops.take(rows))
        return np.maximum(limit.compute_s(least, self.device), limit.memory_s(least, self.device))

    def predict(self, values: Mapping[str, float], rows: np.ndarray) -> np.ndarray:
        """Predicted seconds of the chosen rows."""
        return self.timing(values, rows)[0]

    def timing(self, values: Mapping[str, float], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predicted seconds, and what binds."""
        known = {f"matmul.{key}": value for key, value in {**self.fixed, **values}.items()}
        timing = matmul.time(self.ops.take(rows), bare(self.device, known))
        return np.maximum(timing.time_s, self.floor(rows)), timing.bound


def gemm_rows(table: Table, generation: str, dtype: str) -> Rows:
    """The rows of one format in a gemm table."""
    mine = table.take((table.texts("device") == DEVICES[generation]) & (table.texts("dtype") == dtype))
    ops = gemm.op_table(mine)
    variant = str(matmul.variants(ops)[0])
    return Rows(generation, variant, load.device(DEVICES[generation]), ops, mine.numbers("us_median") * 1e-6)


def few_rows(name: str) -> Rows:
    """The matmuls of one device in a table of many ops."""
    generation, variant = name.split()
    file, device, _ = FEW[name]
    table = read_table(tables_folder() / f"{file}.csv")
    names, measured = table.texts("device"), table.numbers("us") * 1e-6
    parts = [part for part in PARTS[file](table) if part.ops.kind == "matmul"]
    mine = [np.flatnonzero(names[part.rows] == device) for part in parts]
    ops = OpTable.join([part.ops.take(i) for part, i in zip(parts, mine, strict=True)])
    rows = np.concatenate([part.rows[i] for part, i in zip(parts, mine, strict=True)])
    return Rows(generation, variant, load.device(device), ops, measured[rows])


def near(values: Mapping[str, float]) -> list[Free]:
    """FREE with its priors at `values`."""
    return [replace(f, prior=float(np.clip(values[f.key], f.low * 1.01, f.high * 0.99))) for f in FREE]


def free_of(rows: Rows, bf16: Mapping[str, float]) -> list[Free]:
    """What is fitted on the rows of a variant, near the constants of bf16 on the same device."""
    if rows.variant == "bf16":
        return list(FREE)
    steps = {key: bf16[key] * step for key, step in STEPS[rows.variant].items()}
    extra = DEQUANTISE if rows.variant.endswith("_wo") else QUANTISE
    return [*near({**bf16, **steps}), extra, *(PAD if rows.name in PADDED else ())]


def fitted(
    rows: Rows,
    free: Sequence[Free],
    known: Mapping[str, float] | None = None,
    residuals: dict[str, residual.Residual] | None = None,
) -> Values:
    """The constants of `rows` beside those `known`, with intervals from unseen shapes; prints the unseen error.

    residuals: where given, gets what is left over.
    """
    known = known or {}
    free = [f for f in free if f.key not in known]

    def predict(values: Mapping[str, float], some: np.ndarray) -> np.ndarray:
        return rows.predict({**values, **known}, some)

    guess = unseen(predict, rows.measured, free, rows.shapes)
    print(f"{rows.device.name} {rows.variant}, unseen shapes:", summary(rows.measured, guess), flush=True)
    values = {**fit(predict, rows.measured, free, rows.every), **known}
    if residuals is not None:
        residuals[rows.variant] = learned(rows, values, guess)
    return {**rows.fixed, **values, **intervals(rows, guess, rows.timing(values, rows.every)[1]), **light(rows)}


def intervals(rows: Rows, guess: np.ndarray, bound: np.ndarray) -> Values:
    """90 % factors of the rows that each bound binds; of all rows where a bound has fewer than 30."""
    out = {}
    for name in matmul.BOUNDS:
        mine = bound == name if (bound == name).sum() >= 30 else np.ones(len(bound), dtype=bool)
        low, high = interval(rows.measured[mine], guess[mine])
        out |= {f"{name}_error_low": low, f"{name}_error_high": high}
    return out


def light(rows: Rows) -> Values:
    """90 % factors of measured times over the data sheet's."""
    low, high = np.quantile(rows.measured / rows.floor(rows.every), [0.05, 0.95])
    return {"limit.error_low": float(low), "limit.error_high": float(high)}


def learned(rows: Rows, values: Values, guess: np.ndarray) -> residual.Residual:
    """What `values` leave over on the rows, with the interval of rows of unseen shapes; prints their error."""
    gpu = rows.device.architecture
    features = matmul.features(rows.ops, gpu)
    corrected = calibrated(rows, guess)
    print(f"{rows.device.name} {rows.variant}, calibrated:", summary(rows.measured, corrected), flush=True)
    low, high = interval(rows.measured, corrected)
    left = np.log(rows.measured / rows.predict(values, rows.every))
    return replace(residual.fit(features, left, matmul.residual_lengths(rows.variant)), error_low=low, error_high=high)


def calibrated(rows: Rows, guess: np.ndarray) -> np.ndarray:
    """`guess` (of unseen shapes) corrected by what rows of other shapes missed."""
    features, missed = matmul.features(rows.ops, rows.device.architecture), np.log(rows.measured / guess)
    return guess * fitting.calibrated(features, missed, matmul.residual_lengths(rows.variant), rows.shapes, NUM_FOLDS)


def fit_all() -> dict[str, Values]:
    """The constants of every generation and variant that has rows; writes their residuals."""
    table = read_table(tables_folder() / "gpu_gemm.csv")
    found: dict[str, Values] = {}
    for generation, device in DEVICES.items():
        left: dict[str, residual.Residual] = {}
        bf16 = found[f"{generation} bf16"] = fitted(gemm_rows(table, generation, "bf16"), FREE, None, left)
        for dtype in sorted(set(table.take(table.texts("device") == device).texts("dtype")) - {"bf16"}):
            rows = gemm_rows(table, generation, str(dtype))
            found[rows.name] = fitted(rows, free_of(rows, bf16), None, left)
        write_residuals(f"{generation}.matmul", f"{SCRIPT} on gpu_gemm.csv ({device})", left)
    for name, (_, _, priors) in FEW.items():
        source, keys = KNOWN.get(name, ("", ()))
        known = {key: found[source][key] for key in keys}
        free = near({**found["sm80 bf16"], **priors})
        free = [SCALAR if name.endswith("fp32") and f.key == SCALAR.key else f for f in free]
        found[name] = fitted(few_rows(name), free, known)
        if name.endswith("bf16"):
            found[name][LIGHT] = max(found[f][LIGHT] for f in (name, "sm80 bf16"))
    for name, source in POWER_AS.items():
        found[name]["joule_per_flop"] = found[source]["joule_per_flop"]
    return found


def widened(values: Mapping[str, float]) -> Values:
    """Wider intervals, for constants that were fitted on something else."""
    return {key: value**WIDER if "_error_" in key else value for key, value in values.items()}


def stepped(base: Values, variant: str, found: Mapping[str, Values]) -> Values:
    """`base` (bf16) changed as a generation with rows of `variant` changes from bf16 to it."""
    there, start = found[f"{MEASURED_ON[variant]} {variant}"], found[f"{MEASURED_ON[variant]} bf16"]
    out = dict(there)
    for free in FREE:
        out[free.key] = float(np.clip(base[free.key] * there[free.key] / start[free.key], free.low, free.high))
    return widened({**out, "b_share": base["b_share"]})


def write_generation(generation: str, found: Mapping[str, Values]) -> None:
    """The file of one generation: fitted variants, and what others are assumed to be like."""
    base = found[f"{BASES[generation]} bf16"]
    own = {name.split()[1]: values for name, values in found.items() if name.split()[0] == generation}
    assumed = {variant: stepped(base, variant, found) for variant in MEASURED_ON if variant not in own}
    if generation in FP32_JOULE_PER_FLOP:
        assumed["fp32"]["joule_per_flop"] = FP32_JOULE_PER_FLOP[generation]
    names = [f"gpu_gemm.csv ({DEVICES[generation]})"] if generation in DEVICES else []
    names += [f"{file}.csv ({device})" for name, (file, device, _) in FEW.items() if name.split()[0] == generation]
    groups = [
        (f"every other variant: bf16 of {BASES[generation]}, wider intervals", "assumed", _keyed("", widened(base))),
        ("the step from bf16 of the generation that has rows of the variant", "assumed", _joined(assumed)),
    ]
    if own:
        marks = {"matmul.has_residual": 1.0} if generation in DEVICES else {}
        if "bf16" in own:
            device = load.device(DEVICES.get(generation) or FEW[f"{generation} bf16"][1])
            marks |= {f"matmul.fitted_on.{name}": value for name, value in matmul.traits(device).items()}
        groups.insert(0, (f"{SCRIPT} on {', '.join(names)}", "fitted", {**_joined(own), **marks}))
    write(f"{generation}.matmul", groups)


def _keyed(variant: str, values: Mapping[str, float]) -> Values:
    return {f"matmul.{variant}{'.' if variant else ''}{key}": value for key, value in values.items()}


def _joined(variants: Mapping[str, Values]) -> Values:
    return {key: value for variant, values in variants.items() for key, value in _keyed(variant, values).items()}


def write_transfer(generation: str, old: str, found: Mapping[str, Values]) -> None:
    """The constants of `generation` from those of `old` and its documents; prints what they miss by."""
    variants = {name.split()[1]: values for name, values in found.items() if name.split()[0] == old}
    changes = {**OF_GENERATION.get(generation, {}), **TRANSFER.get(generation, {})}
    moved = {v: widened({**values, **changes, "is_column_walk": 0.0}) for v, values in variants.items()}
    table = read_table(tables_folder() / "gpu_gemm.csv")
    rows = gemm_rows(table, generation, "bf16")
    guess = rows.predict(moved["bf16"], rows.every)
    print(f"{old} constants on {rows.device.name} bf16:", summary(rows.measured, guess))
    base = moved["bf16"]
    for variant in MEASURED_ON:
        moved.setdefault(variant, stepped(base, variant, found) if MEASURED_ON[variant] != generation else base)
    fitted_on = f"{SCRIPT} on gpu_gemm.csv without {generation}: {DEVICES[old]}, and the documents of {generation}"
    write(f"{generation}.matmul.transfer", [(fitted_on, "fitted", {**_keyed("", base), **_joined(moved)})])


def main() -> None:
    """Fits every generation and writes its files."""
    found = fit_all()
    for generation in BASES:
        write_generation(generation, found)
    write_transfer("sm90", "sm80", found)
    write_transfer("sm100", "sm90", found)


if __name__ == "__main__":
    main()
