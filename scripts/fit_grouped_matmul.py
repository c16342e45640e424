"""Fits the constants of grouped matmuls (MoE experts) on measured/gpu_moe.csv and writes them into the catalogue.

    AISYS_TABLES=FOLDER python scripts/fit_grouped_matmul.py

Per generation and number format: one set for plans, pooled over all stacks, and one per stack in front of it.
Errors and intervals come from folds, by model shape, that the fit has not seen.
"""

from collections.abc import Mapping

import numpy as np
from fitting import Free, bare, changed, fit, interval, summary, tables_folder, unseen, widened, write

from aisys.cost.gpu import grouped_matmul, limit, stream
from aisys.cost.gpu.matmul import variants
from aisys.machine import Device, load
from aisys.validate.moe import parts
from aisys.validate.table import Table, read_table

DEVICES = {"sm80": "A100-SXM4-80GB", "sm90": "H100-SXM5-80GB"}
RELATIVES = {
    "sm60": "sm80", "sm61": "sm80", "sm70": "sm80", "sm75": "sm80", "sm86": "sm80", "sm89": "sm80", "sm100": "sm90",
    "sm120": "sm80", "gfx90a": "sm80", "gfx942": "sm90",
}  # fmt: skip
"""Where a generation without rows takes its constants from."""
MIN_SHAPES = 5
"""Fewer models than this are cut into folds by row."""
DEFAULT_STACK = {"fp8": "trtllm"}
"""Formats whose stacks differ so much (vLLM's untuned fp8 kernel reads weights at a sixth of the bandwidth) that no set
fits both: a plan takes this one."""
SOURCE = "scripts/fit_grouped_matmul.py on measured/gpu_moe.csv"

_FIELDS = (
    Free("compute_efficiency", 0.55, 0.05, 0.9), Free("memory_efficiency", 0.75, 0.05, 0.97),
    Free("l2_bytes_per_clock_per_sm", 40, 4, 64), Free("tile_s", 1e-6, 1e-8, 1e-5), Free("launch_s", 8e-6, 2e-6, 6e-5),
    Free("small_tile_penalty", 0.3, 0.01, 3), Free("tile_bytes_per_clock", 30, 2, 200),
)  # fmt: skip


class Rows:
    """The rows of one device, format and stack as one prediction problem."""

    def __init__(self, table: Table, generation: str, dtype: str, stack: str) -> None:
        named = np.char.startswith(table.texts("stack"), stack)
        mine = (table.texts("device") == DEVICES[generation]) & named & (table.texts("dtype") == dtype)
        self.table = table.take(mine)
        found, _ = parts(self.table)
        self.measured = self.table.numbers("us") * 1e-6
        real = load.device(DEVICES[generation])
        self.streams_s = np.zeros(len(self.table))
        for part in found:
            if part.ops.kind == "stream":
                self.streams_s[part.rows] += stream.time(part.ops, real).time_s
        self.ops = [p.ops for p in found if p.ops.kind == "grouped_matmul"]
        start = {"grouped_matmul.error_low": 1.0, "grouped_matmul.error_high": 1.0}
        self.device: Device = bare(real, start)
        self.variant = str(variants(self.ops[0])[0]) if len(self.table) else ""
        works = [limit.work(ops) for ops in self.ops]
        self.floor = np.sum([np.maximum(limit.compute_s(w, real), limit.memory_s(w, real)) for w in works], axis=0)

    @property
    def shapes(self) -> np.ndarray:
        """The model that each row belongs to."""
        columns = (self.table.texts(c) for c in ("hidden", "inter", "experts"))
        return np.array(["x".join(row) for row in zip(*columns, strict=True)])

    def free(self) -> list[Free]:
        """The constants to fit."""
        return [Free(f"grouped_matmul.{self.variant}.{f.key}", f.prior, f.low, f.high) for f in _FIELDS]

    def predict(self, values: Mapping[str, float], rows: np.ndarray) -> np.ndarray:
        """Predicted seconds of the chosen rows."""
        device = changed(self.device, values)
        times = [grouped_matmul.time(ops.take(rows), device).time_s for ops in self.ops]
        return np.asarray(np.sum(times, axis=0) + self.streams_s[rows])


def fit_rows(rows: Rows, label: str) -> tuple[dict[str, float], np.ndarray]:
    """The constants of these rows with their interval, and the prediction of each row by a fit without its model."""
    shapes = rows.shapes if len(np.unique(rows.shapes)) >= MIN_SHAPES else None
    guess = unseen(rows.predict, rows.measured, rows.free(), shapes, 5)
    print(label, summary(rows.measured, guess), flush=True)
    values = fit(rows.predict, rows.measured, rows.free(), np.arange(len(rows.measured)))
    low, high = interval(rows.measured, guess)
    prefix = f"grouped_matmul.{rows.variant}"
    return {**values, f"{prefix}.error_low": low, f"{prefix}.error_high": high}, guess


def main() -> None:
    """Fits every generation and writes its files."""
    table = read_table(tables_folder() / "gpu_moe.csv")
    generations: dict[str, dict[str, float]] = {}
    errors: list[np.ndarray] = []
    ratios: list[np.ndarray] = []
    for generation, name in DEVICES.items():
        of_device = table.take(table.texts("device") == name)
        values: dict[str, float] = {}
        for dtype in np.unique(of_device.texts("dtype")):
            mine = of_device.take(of_device.texts("dtype") == dtype)
            stacks = sorted({s.split("-")[0] for s in mine.texts("stack")})
            for stack in stacks:
                rows = Rows(table, generation, str(dtype), stack)
                found, guess = fit_rows(rows, f"{generation} {dtype} {stack}")
                errors.append(np.abs(guess / rows.measured - 1))
                ratios.append(rows.measured / rows.floor)
                values |= {f"stack.{stack}.{key}": value for key, value in found.items()}
            default = DEFAULT_STACK.get(str(dtype), "")
            values |= fit_rows(Rows(table, generation, str(dtype), default), f"{generation} {dtype} for plans")[0]
        generations[generation] = values
    print(f"moe, unseen models: mape {100 * np.concatenate(errors).mean():.1f} %")
    low, high = np.quantile(np.concatenate(ratios), [0.05, 0.95])
    light = {"grouped_matmul.limit.error_low": float(low), "grouped_matmul.limit.error_high": float(high)}
    for generation, values in generations.items():
        write_generation(generation, values, light, None)
    for generation, relative in RELATIVES.items():
        carried = {k: v for k, v in generations[relative].items() if not k.startswith("stack.")}
        write_generation(generation, carried | widened(carried), light, relative)
    carried = generations["sm80"]
    write_generation("sm90", carried | widened(carried), light, "sm80", ".transfer")


def general(values: Mapping[str, float]) -> dict[str, float]:
    """Constants of formats without rows: those of bf16."""
    prefix = "grouped_matmul.bf16."
    return {key.replace(".bf16.", "."): value for key, value in values.items() if key.startswith(prefix)}


def write_generation(
    generation: str, values: Mapping[str, float], light: Mapping[str, float], relative: str | None, ending: str = ""
) -> None:
    """Writes `<generation>.grouped_matmul<ending>.toml`, from the rows of `relative` where it is given."""
    source = f"{SOURCE}, carried over from {relative}" if relative else f"{SOURCE} ({DEVICES[generation]})"
    everything = {**general(values), **values, **light}
    write(f"{generation}.grouped_matmul{ending}", [(source, "assumed" if relative else "fitted", everything)])


if __name__ == "__main__":
    main()
