"""Fits the constants of fused attention on measured/gpu_attention.csv and writes them into the catalogue.

    AISYS_TABLES=FOLDER python scripts/fit_attention.py

Per generation and stack one set of constants. A plan uses vLLM's where it has rows: its FlashAttention kernels are
those that training runs, too. Intervals and the printed errors come from folds that the fit has not seen.
`<gen>.attention.transfer.toml` holds the constants of the generation before, under a wider interval.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from fitting import (
    Free,
    bare,
    calibrated,
    changed,
    fit,
    interval,
    summary,
    tables_folder,
    unseen,
    widened,
    write,
    write_residuals,
)  # fmt: skip

from aisys.cost.gpu import attention, limit
from aisys.machine import Gpu, load, residual
from aisys.units import Kind
from aisys.validate import transformer_layer
from aisys.validate.attention import op_table
from aisys.validate.table import Table, read_table

BOARDS = {"sm89": "RTX4090", "sm120": "RTXPRO6000"}
"""Generations that only measured/llmservingsim_layers.csv has: mixed batches of vLLM, the attention kernel alone. What
these rows cannot tell they take from vLLM on sm80; both run FlashAttention-2."""

DEVICES = {"sm80": "A100-SXM4-80GB", "sm90": "H100-SXM5-80GB", "sm100": "B200-SXM"}
SOURCE = "scripts/fit_attention.py on measured/gpu_attention.csv"

STRUCTURE_SOURCE = "structure of the kernels; Dao 2023, Shah et al. 2024, documentation of vLLM and TensorRT-LLM"

FIXED = {
    "attention.launch_s": 4e-6, "attention.exp_efficiency": 1.0, "attention.l2_bytes_per_clock_per_sm": 40.0,
    "attention.tile_k": 64, "attention.max_splits": 128, "attention.transpose_s": 0.0, "attention.combine_s": 2e-6,
    "attention.block_s": 2e-6, "attention.block_single_s": 2e-6, "attention.block_row_s": 0.0,
    "attention.block_bytes_per_clock": 30.0, "attention.tail": 0.5, "attention.query_copies": 0.0,
    "attention.cached_share": 0.4,
    "attention.overlap_loss": 0.0, "attention.retained_share": 0.0, "attention.single_s": 0.0,
    "attention.memory_efficiency": 0.88, "attention.append_efficiency": 0.7,
    "attention.page_s": 6e-6, "attention.token_s": 1e-9,
    "attention.prefill.max_group": 1, "attention.decode.max_group": 1024,
    "attention.decode.tile_q": 64, "attention.decode.tile_k": 128,
    "attention.backward.tile_q": 64, "attention.backward.max_group": 1, "attention.backward.launch_s": 1.2e-5,
}  # fmt: skip
"""Structure of the kernels, and what these rows cannot tell apart. launch_s: a CUDA graph node; the rest of a serving
stack's floor is page_s. backward: three kernels (Dao 2023)."""

BACKWARD_SHARE = 0.86
"""Backward efficiency over forward efficiency, multiplications and exponentials alike, for 2.5 times the flop.
Source: Dao 2023 (FlashAttention-2), 63 % against 73 % of peak."""

OF_GENERATION = {
    "sm80": {"attention.prefill.tile_q": 64},
    "sm90": {"attention.prefill.tile_q": 128, "attention.exp_efficiency": 1.25},
    "sm100": {"attention.prefill.tile_q": 128, "attention.exp_efficiency": 1.25},
}
"""exp_efficiency above 1: Shah et al. 2024 hide a part of the exponentials behind the multiplications."""

OF_STACK = {
    "sm80 vllm": {},
    "sm90 vllm": {"attention.prefill.max_group": 1024, "attention.decode.max_splits": 32},
    "trtllm": {"attention.decode.max_group": 32, "attention.decode.tile_q": 32},
}
"""vLLM caps the splits of FlashAttention-3 at 32 under CUDA graphs; the shared-key kernel of TensorRT-LLM takes groups
of up to 32 heads."""

RELATIVES = {
    "sm60": ("sm80", 0.5), "sm61": ("sm80", 0.5), "sm70": ("sm80", 0.65), "sm75": ("sm80", 0.65),
    "sm86": ("sm80", 1.0), "gfx90a": ("sm80", 0.6),
    "gfx942": ("sm80", 0.6),
}  # fmt: skip
"""Where a generation without rows takes its constants from, and its share of their compute efficiency: FlashAttention-2
runs on sm80 to sm120 alike; kernels before and beside it reach less (assumed)."""

_PREFILL = (
    Free("page_s", 6e-6, 1e-6, 3e-5), Free("compute_efficiency", 0.75, 0.2, 1.1), Free("block_s", 2.5e-6, 3e-7, 1e-5),
    Free("memory_efficiency", 0.85, 0.5, 0.97), Free("append_efficiency", 0.6, 0.1, 1.0),
    Free("query_copies", 0.5, 0.01, 5), Free("tail", 0.5, 0.05, 1.5), Free("token_s", 1e-9, 1e-11, 1e-8),
)  # fmt: skip
_DECODE = (
    Free("page_s", 6e-6, 1e-6, 3e-5), Free("block_s", 2.5e-6, 3e-7, 1e-5), Free("block_single_s", 2e-6, 3e-7, 1e-5),
    Free("block_row_s", 2e-8, 1e-9, 3e-7), Free("block_bytes_per_clock", 25, 6, 120),
    Free("memory_efficiency", 0.85, 0.5, 0.97), Free("cached_share", 0.4, 0.1, 1.5),
    Free("combine_s", 2e-6, 1e-7, 1e-5), Free("append_efficiency", 0.5, 0.1, 1.0), Free("token_s", 5e-9, 1e-10, 3e-8),
    Free("single_s", 3e-7, 1e-8, 1e-5), Free("overlap_loss", 0.1, 1e-3, 0.6), Free("retained_share", 0.1, 1e-3, 1.0),
    Free("l2_bytes_per_clock_per_sm", 30, 8, 64),
)  # fmt: skip
_OWN = {
    "prefill": ("page_s", "compute_efficiency", "block_s"),
    "decode": ("page_s", "block_s", "block_bytes_per_clock", "memory_efficiency", "single_s"),
}
"""What a kernel for another number format does not share with the 16-bit one."""

_VARIANTS = {"prefill": ("fp8_kv", "fp8"), "decode": ("fp8_kv",)}


_BOARD = (
    Free("attention.compute_efficiency", 0.8, 0.3, 1.1), Free("attention.memory_efficiency", 0.85, 0.5, 0.97),
    Free("attention.launch_s", 4e-6, 1e-6, 1e-5), Free("attention.block_s", 2e-6, 1e-7, 1e-5),
    Free("attention.l2_bytes_per_clock_per_sm", 40, 8, 64), Free("attention.tail", 0.5, 0.05, 1.5),
)  # fmt: skip


class BoardRows:
    """The mixed batches of one board as one prediction problem."""

    def __init__(self, table: Table, generation: str, base: Mapping[str, float]) -> None:
        kind, device = table.texts("kind") == "attention", table.texts("device") == BOARDS[generation]
        self.table = table.take(kind & device)
        self.parts = transformer_layer.parts(self.table)[0]
        self.measured = self.table.numbers("us") * 1e-6
        self.device = bare(load.device(BOARDS[generation]), base)

    def predict(self, values: Mapping[str, float], rows: np.ndarray) -> np.ndarray:
        """Predicted seconds of the chosen rows."""
        total = np.zeros(len(self.measured))
        for part in self.parts:
            total[part.rows] += attention.time(part.ops, changed(self.device, values)).time_s
        return total[rows]


class Rows:
    """The rows of one device, and of one stack or all of them, as one prediction problem per phase."""

    def __init__(self, table: Table, generation: str, stack: str, phase: str) -> None:
        named = np.char.startswith(table.texts("stack"), stack)
        mine = (table.texts("device") == DEVICES[generation]) & named & (table.texts("phase") == phase)
        self.table = table.take(mine)
        self.ops = op_table(self.table)
        self.measured = self.table.numbers("us") * 1e-6
        self.phase, self.generation = phase, generation
        structure = OF_STACK.get(f"{generation} {stack}", OF_STACK.get(stack, {}))
        base = {
            **FIXED,
            **OF_GENERATION[generation],
            **structure,
            "attention.error_low": 1.0,
            "attention.error_high": 1.0,
        }
        self.device = bare(load.device(DEVICES[generation]), {**base, "attention.compute_efficiency": 0.75})
        self.floor = self._floor()

    def _floor(self) -> np.ndarray:
        least = limit.work(self.ops)
        return np.maximum(limit.compute_s(least, self.device), limit.memory_s(least, self.device))

    def free(self) -> list[Free]:
        """The constants to fit: shared ones, and those of each format that these rows hold."""
        fields = {"prefill": _PREFILL, "decode": _DECODE}[self.phase]
        found = [Free(f"attention.{self.phase}.{f.key}", f.prior, f.low, f.high) for f in fields]
        if self.phase == "decode" and (self.table.texts("stack") == "vllm-0.14.0").any() and self.generation == "sm80":
            found.append(Free("attention.decode.transpose_s", 6e-6, 1e-7, 2e-5))
        formats = {f"{m}.{kv}" for m, kv in zip(self.ops["math"], self.ops["kv_dtype"], strict=True)}
        for variant in _VARIANTS[self.phase]:
            if {"fp8_kv": "bf16.fp8", "fp8": "fp8.fp8"}[variant] in formats:
                found += [
                    Free(f"attention.{self.phase}.{variant}.{f.key}", f.prior, f.low, f.high)
                    for f in fields if f.key in _OWN[self.phase]
                ]  # fmt: skip
        return found

    @property
    def features(self) -> np.ndarray:
        """What residuals are learned over."""
        gpu = self.device.architecture
        assert isinstance(gpu, Gpu)
        return attention.features(self.ops, gpu)

    def calibrated(self, guess: np.ndarray) -> np.ndarray:
        """`guess` of unseen rows, corrected by what other rows of the same formats missed."""
        out, names, features = guess.copy(), attention.variants(self.ops), self.features
        for variant in np.unique(names):
            mine = np.flatnonzero(names == variant)
            missed = np.log(self.measured[mine] / guess[mine])
            out[mine] *= calibrated(features[mine], missed, attention.residual_lengths(str(variant)))
        return out

    def learned(self, values: Mapping[str, float], guess: np.ndarray) -> dict[str, residual.Residual]:
        """Variant to what `values` leave over, with the interval of unseen rows."""
        names, better = attention.variants(self.ops), self.calibrated(guess)
        left = np.log(self.measured / self.predict(values, np.arange(len(guess))))
        out = {}
        for variant in np.unique(names):
            mine = np.flatnonzero(names == variant)
            one = residual.fit(self.features[mine], left[mine], attention.residual_lengths(str(variant)))
            low, high = interval(self.measured[mine], better[mine])
            out[str(variant)] = replace(one, error_low=low, error_high=high)
        return out

    def predict(self, values: Mapping[str, float], rows: np.ndarray) -> np.ndarray:
        """Predicted seconds of the chosen rows."""
        time_s = attention.time(self.ops.take(rows), changed(self.device, values)).time_s
        return np.maximum(time_s, self.floor[rows])


def main() -> None:
    """Fits every generation and writes its files."""
    table = read_table(tables_folder() / "gpu_attention.csv")
    default: dict[str, dict[str, float]] = {}
    stacked: dict[str, dict[str, float]] = {}
    light: dict[str, dict[str, float]] = {}
    errors: dict[str, list[np.ndarray]] = {}
    for generation, name in DEVICES.items():
        stacks = sorted({s.split("-")[0] for s in table.take(table.texts("device") == name).texts("stack")})
        left: dict[str, dict[str, residual.Residual]] = {}
        of_stack = {stack: fit_stack(table, generation, stack, errors, left) for stack in stacks}
        chosen = "vllm" if "vllm" in stacks else stacks[0]
        default[generation] = of_stack[chosen]
        light[generation] = limit_interval(table, generation)
        others = {s: plain(generation, default[generation]) | v for s, v in of_stack.items() if s != chosen}
        own = {f"stack.{stack}.{key}": value for stack, values in others.items() for key, value in values.items()}
        stacked[generation] = own
        fitted = {**default[generation], **own, **light[generation], "attention.has_residual": 1.0}
        source = f"{SOURCE} ({name}, default {chosen})"
        save(generation, structure(generation, default[generation]), source, fitted)
        write_residuals(f"{generation}.attention", source, named(left, chosen))
    for label, of_label in errors.items():
        print(f"{label}, pooled over stacks, unseen rows: mape {100 * np.concatenate(of_label).mean():.1f} %")
    transfers(table, default, stacked, light)
    relatives(default, light)
    layers = read_table(tables_folder() / "llmservingsim_layers.csv")
    for generation in BOARDS:
        fit_board(layers, generation, default["sm80"], light["sm80"])


def named(left: Mapping[str, Mapping[str, residual.Residual]], default: str) -> dict[str, residual.Residual]:
    """Residuals of every stack by their names; those of the default stack without it."""
    return {
        residual.name_of("", variant, "" if stack == default else stack).removeprefix("."): one
        for stack, variants in left.items() for variant, one in variants.items()
    }  # fmt: skip


def fit_stack(
    table: Table, generation: str, stack: str, errors: dict[str, list[np.ndarray]],
    left: dict[str, dict[str, residual.Residual]],
) -> dict[str, float]:  # fmt: skip
    """The constants of one stack; errors on unseen rows are added to `errors`, what is left over to `left`."""
    values: dict[str, float] = {}
    for phase in ("prefill", "decode"):
        rows = Rows(table, generation, stack, phase)
        guess = unseen(rows.predict, rows.measured, rows.free())
        print(generation, stack, phase, summary(rows.measured, guess), flush=True)
        found = fit(rows.predict, rows.measured, rows.free(), np.arange(len(rows.measured)))
        values |= found
        better = rows.calibrated(guess)
        print(generation, stack, phase, "calibrated:", summary(rows.measured, better), flush=True)
        left.setdefault(stack, {}).update(rows.learned(found, guess))
        low, high = interval(rows.measured, guess)
        values |= {f"attention.{phase}.error_low": low, f"attention.{phase}.error_high": high}
        errors.setdefault(phase, []).append(np.abs(guess / rows.measured - 1))
        errors.setdefault(f"{phase} calibrated", []).append(np.abs(better / rows.measured - 1))
    return {**values, **OF_STACK.get(f"{generation} {stack}", OF_STACK.get(stack, {}))}


def plain(generation: str, default: Mapping[str, float]) -> dict[str, float]:
    """The structure under the constants of the default stack, for a stack that does not share them."""
    base = {**FIXED, **OF_GENERATION[generation]}
    found = {key: base.get(key, base.get(f"attention.{key.rsplit('.', 1)[-1]}")) for key in default}
    return {key: value for key, value in found.items() if value is not None}


def limit_interval(table: Table, generation: str) -> dict[str, float]:
    """How far above the speed of light these rows lie."""
    both = [Rows(table, generation, "", phase) for phase in ("prefill", "decode")]
    low, high = np.quantile(np.concatenate([rows.measured / rows.floor for rows in both]), [0.05, 0.95])
    return {"attention.limit.error_low": float(low), "attention.limit.error_high": float(high)}


def structure(generation: str, values: Mapping[str, float]) -> dict[str, float]:
    """Constants that no row here decides, without those that `values` has."""
    efficiency = values["attention.prefill.compute_efficiency"]
    exponentials = {**FIXED, **OF_GENERATION[generation]}["attention.exp_efficiency"]
    found = {
        **FIXED, **OF_GENERATION[generation], "attention.compute_efficiency": efficiency,
        "attention.backward.compute_efficiency": BACKWARD_SHARE * efficiency,
        "attention.backward.exp_efficiency": exponentials * BACKWARD_SHARE / 2.5,
        "attention.backward.block_s": values["attention.prefill.block_s"],
        "attention.error_low": values["attention.prefill.error_low"] ** 2,
        "attention.error_high": values["attention.prefill.error_high"] ** 2,
    }  # fmt: skip
    return {key: value for key, value in found.items() if key not in values}


def save(
    name: str, assumed: Mapping[str, float], source: str, fitted: Mapping[str, float], kind: Kind = "fitted"
) -> None:
    """Writes `<name>.attention.toml`; a name may end in .transfer."""
    generation, _, rest = name.partition(".")
    file = f"{generation}.attention" + (f".{rest}" if rest else "")
    write(file, [(STRUCTURE_SOURCE, "assumed", assumed), (source, kind, fitted)])


def transfers(
    table: Table, default: Mapping[str, dict[str, float]], stacked: Mapping[str, dict[str, float]],
    light: Mapping[str, dict[str, float]],
) -> None:  # fmt: skip
    """Writes what a generation would be given by the rows of the one before alone; prints how far off that is."""
    for before, generation in (("sm80", "sm90"), ("sm90", "sm100")):
        for phase in ("prefill", "decode"):
            for stack in ("vllm", "trtllm"):
                rows = Rows(table, generation, stack, phase)
                prefix = f"stack.{stack}."
                own = {k.removeprefix(prefix): v for k, v in stacked[before].items() if k.startswith(prefix)}
                if len(rows.measured):
                    guess = rows.predict({**default[before], **own}, np.arange(len(rows.measured)))
                    print(f"{before} constants on {generation} {stack} {phase}:", summary(rows.measured, guess))
        values = {**default[before], **stacked[before]}
        values |= widened(values)
        source = f"{SOURCE}, fitted on {DEVICES[before]} alone"
        save(f"{generation}.transfer", structure(generation, values), source, {**values, **light[before]})


def relatives(default: Mapping[str, dict[str, float]], light: Mapping[str, dict[str, float]]) -> None:
    """Writes generations without rows."""
    for generation, (relative, share) in RELATIVES.items():
        values = {k: v * (share if "compute_efficiency" in k else 1.0) for k, v in default[relative].items()}
        values |= widened(values)
        source = f"{SOURCE} ({DEVICES[relative]}), carried over, compute efficiency times {share}"
        save(generation, structure(relative, values), source, {**values, **light[relative]}, "assumed")


def fit_board(table: Table, generation: str, of_vllm: Mapping[str, float], light: Mapping[str, float]) -> None:
    """Fits and writes a generation of BOARDS: the constants of all phases at once."""
    names = {free.key.removeprefix("attention.") for free in _BOARD}
    kept = {k: v for k, v in of_vllm.items() if k.rsplit(".", 1)[-1] not in names}
    base = {**FIXED, **OF_GENERATION["sm80"], **kept, "attention.error_low": 1.0, "attention.error_high": 1.0}
    rows = BoardRows(table, generation, base)
    guess = unseen(rows.predict, rows.measured, _BOARD)
    print(generation, "mixed batches", summary(rows.measured, guess))
    found = fit(rows.predict, rows.measured, _BOARD, np.arange(len(rows.measured)))
    low, high = interval(rows.measured, guess)
    found |= {"attention.error_low": low, "attention.error_high": high}
    found["attention.backward.compute_efficiency"] = BACKWARD_SHARE * found["attention.compute_efficiency"]
    found["attention.backward.exp_efficiency"] = FIXED["attention.exp_efficiency"] * BACKWARD_SHARE / 2.5
    phases = {k: v for k, v in kept.items() if "error_" not in k}
    assumed = {k: v for k, v in {**FIXED, **OF_GENERATION["sm80"], **phases}.items() if k not in found}
    source = f"scripts/fit_attention.py on measured/llmservingsim_layers.csv ({BOARDS[generation]})"
    save(generation, assumed, source, {**found, **light})


if __name__ == "__main__":
    main()
