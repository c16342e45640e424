"""Fits the constants of streaming ops on four measured tables and writes them into the catalogue.

    AISYS_TABLES=FOLDER python scripts/fit_stream.py

First the share of its data-sheet bandwidth that each generation's memory gives to a plain pointwise kernel. Then the
kernels: in 32 bits one set for sm60 to sm75 and one from sm80 on (neusight_fp32_ops: PyTorch), in 16 bits per
generation (vidur_mlp: A100, A40, H100; llmservingsim_layers: RTX 4090, RTX PRO 6000; llmcompass_ops: PyTorch's
softmax, layer norm and GELU on A100 and MI210). A generation without rows takes the constants of a relative. Errors
and intervals are of folds (16 bits: random rows; 32 bits: whole devices) that the fit has not seen.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from fitting import Free, bare, changed, fit, interval, summary, tables_folder, unseen, widened, write

from aisys.cost.gpu import limit, stream
from aisys.ir import OpTable
from aisys.machine import Device, load
from aisys.units import KiB, Kind
from aisys.validate import gpu_op, gpu_op_fp32, transformer_layer, transformer_op
from aisys.validate.gpu_rows import Part
from aisys.validate.table import Table, read_table

THREADS_PER_SM = {"sm75": 1024, "sm86": 1536, "sm89": 1536, "sm120": 1536}
"""Others: 2048. Source: CUDA C++ programming guide, technical specifications per compute capability."""

NEAR_CACHE_BYTES = {
    "sm60": 24 * KiB, "sm61": 48 * KiB, "sm70": 128 * KiB, "sm75": 64 * KiB, "sm80": 192 * KiB, "sm86": 128 * KiB,
    "sm89": 128 * KiB, "sm90": 256 * KiB, "sm100": 256 * KiB, "sm120": 128 * KiB, "gfx90a": 16 * KiB,
    "gfx942": 32 * KiB,
}  # fmt: skip
"""First-level data cache of a multiprocessor. Source: CUDA C++ programming guide and tuning guides; AMD CDNA 2 and 3
white papers."""

L2_PARTITIONS = {"sm80": 2, "sm90": 2, "sm100": 2}
"""Halves of the shared cache that each keep a copy of what their multiprocessors read. Source: NVIDIA A100 Tensor Core
GPU architecture white paper, 2020."""

STRUCTURE = {
    "stream.launch_s": 2.5e-6, "stream.relative_efficiency": 1.0, "stream.memory_efficiency": 0.85,
    "stream.cached_share": 0.5, "stream.bytes_per_clock_per_sm": 40.0, "stream.row_s": 0.0,
    "stream.row_bytes_per_clock": 1e4, "stream.extra_passes": 0, "stream.one_pass_cols": 0, "stream.vector_bytes": 16,
    "stream.threads_per_row": 128, "stream.few_rows_s": 0.0,
    "stream.rmsnorm.threads_per_row": 1024, "stream.rmsnorm.vector_bytes": 2,
    "stream.silu.threads_per_row": 1024, "stream.silu.vector_bytes": 2,
    "stream.rope.threads_per_row": 512, "stream.rope.vector_bytes": 2,
    **{f"stream.layernorm{width}.extra_passes": 1 for width in ("", ".fp32")},
    **{f"stream.softmax{width}.extra_passes": 2 for width in ("", ".fp32")},
    **{f"stream.softmax{width}.one_pass_cols": 1024 for width in ("", ".fp32")},
    **{f"stream.softmax{width}.threads_per_row": 512 for width in ("", ".fp32")},
}  # fmt: skip
"""Passes over a row, threads and vectors as PyTorch 2.1 and vLLM launch them: layer norm reads a row twice, softmax
(max, sum, result) three times, and rows of up to 1024 columns once."""

_POINTWISE = (
    Free("launch_s", 2e-6, 3e-7, 1e-5), Free("relative_efficiency", 0.95, 0.2, 1.1),
    Free("cached_share", 0.5, 0.1, 1.5), Free("bytes_per_clock_per_sm", 20, 0.5, 64),
)  # fmt: skip
_ROW = (*_POINTWISE, Free("row_s", 1e-6, 1e-8, 1e-5), Free("row_bytes_per_clock", 16, 1, 1e3))
_EAGER = (
    Free("launch_s", 2e-5, 3e-6, 1e-4), Free("relative_efficiency", 0.9, 0.1, 1.1),
    Free("bytes_per_clock_per_sm", 12, 0.5, 64), Free("row_s", 2e-6, 1e-8, 3e-5),
)  # fmt: skip
FIELDS = {
    "add": _POINTWISE, "rope": _ROW, "rmsnorm": _ROW, "silu": _ROW, "topk": _ROW,
    "embedding": (*_ROW, Free("few_rows_s", 5e-7, 1e-8, 2e-6)),
    "gelu": _EAGER[:2], "layernorm": _EAGER, "softmax": _EAGER,
}  # fmt: skip

FIRST = "sm80"
"""The generation with most rows is fitted first; the others start from it."""

RELATIVES = {"sm60": "sm80", "sm61": "sm80", "sm70": "sm80", "sm75": "sm80", "sm100": "sm90", "gfx942": "gfx90a"}
"""Where a generation without 16-bit rows takes its constants from."""

READ_EFFICIENCY = {"sm89": 0.88, "sm90": 0.91, "sm100": 0.91, "sm120": 0.85}
"""Where no large pointwise op was measured: H100 reads keys and values at 0.91 of its peak (gpu_attention.csv, long
decodes); RTX PRO 6000 a vocabulary's weights at 0.85 and RTX 4090 at 0.94 (llmservingsim_layers.csv, lm_head), where
boards of that generation with error correction (L4, L40S) give less."""

WIDE_FAMILIES = {"old": ("sm60", "sm61", "sm70", "sm75"), "new": ("sm80",)}
"""Generations whose 32-bit row kernels are fitted together; later ones take the new set."""

TRANSFERS = {"sm86": "sm80", "sm90": "sm80", "sm89": "sm86", "sm120": "sm86"}
"""Which generation stands for one with rows where no row of it may speak."""

POINTWISE = ("add", "mul", "relu", "gelu", "tanh")
LARGE_BYTES = 2e8
"""Rows that move more than this tell the memory's efficiency: no cache holds them, no launch shows."""


@dataclass(frozen=True)
class Rows:
    """Rows of one function on one device."""

    generation: str
    function: str
    device: Device = field(repr=False)
    ops: OpTable = field(repr=False)
    measured: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class Problem:
    """Rows of one function, on one or several devices, under the constants `known`."""

    groups: Sequence[Rows]
    known: Mapping[str, Mapping[str, float]]

    @property
    def measured(self) -> np.ndarray:
        """Seconds of every row."""
        return np.concatenate([one.measured for one in self.groups])

    @property
    def devices(self) -> np.ndarray:
        """Name of the device of every row."""
        return np.concatenate([np.full(len(one.ops), one.device.name) for one in self.groups])

    def floor(self) -> np.ndarray:
        """The data sheet's time of every row."""
        return np.concatenate([limit.memory_s(limit.work(one.ops), one.device) for one in self.groups])

    def predict(self, values: Mapping[str, float], rows: np.ndarray) -> np.ndarray:
        """Predicted seconds of the chosen rows."""
        times = []
        for one in self.groups:
            device = changed(one.device, {**self.known.get(one.generation, {}), **values})
            times.append(stream.time(one.ops, device).time_s)
        return np.maximum(np.concatenate(times), self.floor())[rows]


def generation_facts(generation: str) -> dict[str, float]:
    """What the documents say of a generation."""
    return {
        "stream.threads_per_sm": THREADS_PER_SM.get(generation, 2048),
        "stream.near_cache_bytes": NEAR_CACHE_BYTES[generation],
        "stream.l2_partitions": L2_PARTITIONS.get(generation, 1),
    }


def rows_of(file: str, parts_of: Callable[[Table], Sequence[Part]], width: str = "") -> list[Rows]:
    """The streaming ops of a table; `width` is appended to their function's name."""
    table = read_table(tables_folder() / file)
    measured, names = table.numbers("us") * 1e-6, table.texts("device")
    found = []
    for part in parts_of(table):
        if part.ops.kind != "stream":
            continue
        keys = np.char.add(np.char.add(names[part.rows], "|"), part.ops["function"])
        for key in np.unique(keys):
            mine = keys == key
            device = load.device(str(key).split("|")[0])
            generation = device.architecture.generation
            start = {**STRUCTURE, **generation_facts(generation), "stream.error_low": 1.0, "stream.error_high": 1.0}
            name = str(key).split("|")[1] + width
            found.append(Rows(generation, name, bare(device, start), part.ops.take(mine), measured[part.rows[mine]]))
    return found


def gpu_op_parts(table: Table) -> Sequence[Part]:
    """The single ops of a gpu_op table."""
    return gpu_op.single_parts(table.texts("op"), [table.counts(d, least=0).astype(float) for d in ("d0", "d1", "d2")])


def memory_efficiencies(rows: Sequence[Rows]) -> dict[str, float]:
    """Per generation, the median share of the data sheet's bandwidth that large pointwise ops reach."""
    shares: dict[str, list[np.ndarray]] = {}
    for one in rows:
        moved = one.ops["read_bytes"] + one.ops["write_bytes"]
        large = moved > LARGE_BYTES
        if one.function.split(".")[0] in POINTWISE:
            rate = moved / one.measured / float(one.device.main_memory.bandwidth_bytes_per_s)
            shares.setdefault(one.generation, []).append(rate[large])
    found = {g: float(np.median(np.concatenate(parts))) for g, parts in shares.items() if len(np.concatenate(parts))}
    print("memory efficiency", {g: round(e, 3) for g, e in found.items()})
    return found


def fit_function(function: str, problem: Problem, before: Mapping[str, float]) -> dict[str, float]:
    """The constants of one function's 16-bit kernels on one generation, with their interval.

    before: the constants of a generation fitted earlier, which stand for what these rows cannot tell.
    """
    keys = [(f"stream.{function}.{f.key}", f) for f in FIELDS[function]]
    free = [Free(key, before.get(key, f.prior), f.low, f.high) for key, f in keys]
    guess = unseen(problem.predict, problem.measured, free)
    print(problem.groups[0].generation, function, summary(problem.measured, guess), flush=True)
    values = fit(problem.predict, problem.measured, free, np.arange(len(problem.measured)))
    low, high = interval(problem.measured, guess)
    return {**values, f"stream.{function}.error_low": low, f"stream.{function}.error_high": high}


def as_eager(function: str, values: dict[str, float]) -> dict[str, float]:
    """The launch of an eager framework belongs to that stack alone; the kernel itself belongs to all."""
    launch = f"stream.{function}.launch_s"
    return {k: v for k, v in values.items() if k != launch} | {f"stack.eager.{launch}": values[launch]}


def wide_fields() -> dict[str, tuple[Free, ...]]:
    """What is fitted of 32-bit kernels, by family."""
    row = (Free("bytes_per_clock_per_sm", 13, 4, 64), Free("row_s", 2e-6, 1e-7, 1e-5))
    return {"pointwise": (Free("launch_s", 3e-6, 1e-6, 1e-5),), "layernorm": row, "softmax": row}


def fit_wide(rows: Sequence[Rows], known: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The constants of 32-bit kernels: pointwise, layer norm and softmax, one set for all the generations of `rows`."""
    values: dict[str, float] = {}
    for kind, of_kind in wide_fields().items():
        mine = [r for r in rows if (r.function.split(".")[0] in POINTWISE) == (kind == "pointwise")]
        problem = Problem([r for r in mine if kind in ("pointwise", r.function.split(".")[0])], known)
        free = [Free(f"stream.{kind}.fp32.{f.key}", f.prior, f.low, f.high) for f in of_kind]
        guess = unseen(problem.predict, problem.measured, free, problem.devices, 6)
        print("fp32", kind, "unseen devices:", summary(problem.measured, guess), flush=True)
        for name in np.unique(problem.devices):
            one = problem.devices == name
            print("   ", name, summary(problem.measured[one], guess[one]))
        low, high = interval(problem.measured, guess)
        values |= fit(problem.predict, problem.measured, free, np.arange(len(problem.measured)))
        values |= {f"stream.{kind}.fp32.error_low": low, f"stream.{kind}.fp32.error_high": high}
    return values


def main() -> None:
    """Fits every generation and writes its file."""
    serving = [
        *rows_of("vidur_mlp.csv", lambda t: transformer_op.parts(t)[0]),
        *rows_of("llmservingsim_layers.csv", lambda t: transformer_layer.parts(t)[0]),
    ]
    eager = rows_of("llmcompass_ops.csv", gpu_op_parts)
    wide = rows_of("neusight_fp32_ops.csv", lambda t: gpu_op_fp32.parts(t)[0], ".fp32")
    efficiency = READ_EFFICIENCY | memory_efficiencies([*serving, *eager]) | memory_efficiencies(wide)
    known = {g: {"stream.memory_efficiency": e} for g, e in efficiency.items()}
    of_family = {f: fit_wide([r for r in wide if r.generation in g], known) for f, g in WIDE_FAMILIES.items()}
    generations: dict[str, dict[str, float]] = {}
    for generation in sorted({r.generation for r in [*serving, *eager]}, key=lambda g: (g != FIRST, g)):
        values = dict(known.get(generation, {}))
        before = generations.get(FIRST, {}) if generation.startswith("sm") else {}
        for rows, finish in ((serving, lambda _, v: v), (eager, as_eager)):
            for function in sorted({r.function for r in rows if r.generation == generation}):
                mine = [r for r in rows if (r.generation, r.function) == (generation, function)]
                values |= finish(function, fit_function(function, Problem(mine, known), before))
        generations[generation] = values
    for generation, relative in RELATIVES.items():
        carried = {k: v for k, v in generations[relative].items() if not k.startswith("stack.")}
        generations[generation] = carried | widened(carried) | known.get(generation, {})
    everything = Problem([*serving, *wide], known)
    light = np.quantile(everything.measured / everything.floor(), [0.05, 0.95])
    limits = {"stream.limit.error_low": float(light[0]), "stream.limit.error_high": float(light[1])}
    for generation, values in generations.items():
        family = next((f for f, members in WIDE_FAMILIES.items() if generation in members), None)
        wide_values = of_family[family] if family else of_family["new"] | widened(of_family["new"])
        write_generation(generation, values, {**wide_values, **limits}, RELATIVES.get(generation))
    for generation, relative in TRANSFERS.items():
        carried = {k: v for k, v in generations[relative].items() if not k.startswith("stack.")}
        write_generation(generation, carried | widened(carried), {**of_family["new"], **limits}, relative, ".transfer")


def write_generation(
    generation: str, values: dict[str, float], wide: dict[str, float], relative: str | None, ending: str = ""
) -> None:
    """Writes `<generation>.stream<ending>.toml`; functions without rows take a wide interval."""
    sides = {side: [values[k] for k in values if k.endswith(f".error_{side}")] for side in ("low", "high")}
    structure = {k: v for k, v in {**STRUCTURE, **generation_facts(generation)}.items() if k not in values}
    structure |= widened({f"stream.error_{side}": float(np.median(found)) for side, found in sides.items()})
    note, kind = (f"{relative} rows, carried over", "assumed") if relative else ("rows of this generation", "fitted")
    kind_of: Kind = "assumed" if kind == "assumed" else "fitted"
    write(
        f"{generation}.stream{ending}",
        [
            ("PyTorch 2.1 and vLLM kernels; CUDA C++ programming guide; AMD CDNA white papers", "assumed", structure),
            ("scripts/fit_stream.py on neusight_fp32_ops.csv: sm60-sm75 together, or sm80", "fitted", wide),
            (f"scripts/fit_stream.py on vidur_mlp, llmservingsim_layers, llmcompass_ops: {note}", kind_of, values),
        ],
    )


if __name__ == "__main__":
    main()
