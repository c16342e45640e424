"""Fits the all-reduce kernels of serving frameworks on each link, and writes their constants beside the link's file.

    AISYS_TABLES=... python scripts/fit_collective_kernels.py [--write]

Run after fit_collective.py: what NCCL takes is read from the catalogue. The sizes between which a kernel runs are those
that vLLM publishes, moved where rows show that its version used others. Needs scipy.
"""

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from aisys.collective.layout import Rows
from aisys.collective.library import kernels, nccl
from aisys.machine import link as named_link
from aisys.units import KiB, MiB
from aisys.validate.table import Table, read_table

LINKS = Path(__file__).parents[1] / "src/aisys/machine/catalog/link"
TABLE = "gpu_collectives.csv"
NUM_FOLDS = 5
DEVICES = {"nvswitch-a100": "A100", "nvswitch-h100": "H100", "nvswitch-b200": "B200", "pcie4-x16-two-sockets": "L40S"}
MANY = 1024 * MiB * 16

RANGES: dict[str, dict[str, dict[int, int]]] = {
    "nvswitch-a100": {
        "one_shot.to_bytes": {2: 8 * MiB, 4: 512 * KiB, 8: 256 * KiB},
        "two_shot.from_bytes": {2: MANY, 4: 512 * KiB, 8: 256 * KiB}, "two_shot.to_bytes": {2: MANY, 4: 8 * MiB},
    },
    "nvswitch-h100": {
        "one_shot.to_bytes": {2: 64 * MiB + 1, 4: 512 * KiB, 8: 256 * KiB},
        "two_shot.from_bytes": {2: MANY, 4: 512 * KiB, 8: MANY},
        "two_shot.to_bytes": {2: MANY, 4: 32 * MiB + 1, 8: MANY},
        "multimem.from_bytes": {2: MANY, 8: 256 * KiB}, "multimem.to_bytes": {2: MANY, 8: 64 * MiB + 1},
    },
    "nvswitch-b200": {
        "one_shot.to_bytes": {2: 2 * MiB, 4: 512 * KiB, 8: 256 * KiB},
        "multimem.from_bytes": {2: MANY, 4: 2 * MiB, 8: 2 * MiB},
        "multimem.to_bytes": {2: MANY, 4: 32 * MiB, 8: 128 * MiB + 1},
    },
    "pcie4-x16-two-sockets": {"one_shot.to_bytes": {2: 512 * KiB, 4: 1}},
}  # fmt: skip
"""vLLM's kernels: number of ranks to bytes."""

KERNELS = {"vllm": {"nvswitch-a100": ("one_shot", "two_shot"), "nvswitch-h100": kernels.KERNELS,
                    "nvswitch-b200": ("one_shot", "multimem"), "pcie4-x16-two-sockets": ("one_shot",)},
           "tensorrt_llm": {**dict.fromkeys(DEVICES, ("one_shot", "two_shot")),
                            "pcie4-x16-two-sockets": ("one_shot",)}}  # fmt: skip
START = {"base_s": 4e-6, "step_s": 0.1e-6, "efficiency": 0.6}
SPREAD = {"base_s": 1.0, "step_s": 1.0, "efficiency": 0.5}


@dataclass(frozen=True)
class Sample:
    """Rows of one framework on one link, their seconds, and what NCCL would take."""

    link: str
    library: str
    rows: Rows
    seconds: np.ndarray
    nccl_s: np.ndarray

    def take(self, which: np.ndarray) -> "Sample":
        index = np.flatnonzero(which)
        return Sample(self.link, self.library, self.rows.take(index), self.seconds[index], self.nccl_s[index])


def sample(table: Table, link: str, library: str, found: str) -> Sample:
    which = np.char.startswith(table.texts("device"), DEVICES[link]) & (np.char.find(table.texts("lib"), found) >= 0)
    size, ranks = table.numbers("bytes")[which], table.numbers("gpus")[which]
    nothing = np.full(len(size), np.inf)
    rows = Rows(op=np.zeros(len(size), np.int64), num_bytes=size, per_node=ranks, num_nodes=np.ones(len(size)),
                network_bytes_per_s=nothing, rank_network_bytes_per_s=nothing)  # fmt: skip
    seconds = table.numbers("us")[which] * 1e-6
    return Sample(link, library, rows, seconds, nccl.price(rows, named_link(link), None).time_s)


def names(one: Sample) -> list[tuple[str, float, float]]:
    """Name, start and spread of every constant."""
    found = [(f"{k}.{f}", START[f], SPREAD[f]) for k in KERNELS[one.library][one.link] for f in START]
    if "pcie" in one.link:  # the frameworks ran on other nodes of this kind than nccl-tests did
        return [*found, *((f"nccl_{f}.{n}", 1.0, 1.0) for f in ("factor", "short_factor") for n in (2, 4, 8))]
    return [*found, ("nccl_factor.2", 1.0, 0.1), ("nccl_short_factor.2", 1.0, 0.1)]


def mapping(vector: np.ndarray, one: Sample) -> dict[str, float]:
    found = {name: float(np.exp(v)) for (name, _, _), v in zip(names(one), vector, strict=True)}
    if one.library == "vllm":
        found |= {f"{k}.{n}": float(v) for k, by_ranks in RANGES[one.link].items() for n, v in by_ranks.items()}
    return found


def predict(vector: np.ndarray, one: Sample) -> np.ndarray:
    found = kernels.from_mapping(mapping(vector, one), float(named_link(one.link).bandwidth_bytes_per_s))
    return kernels.duration_s(one.rows, one.nccl_s, found)[0]


def fit(one: Sample) -> np.ndarray:
    start = np.log([s for _, s, _ in names(one)])
    spread = np.array([s for _, _, s in names(one)])

    def residuals(vector: np.ndarray) -> np.ndarray:
        return np.concatenate([np.log(predict(vector, one) / one.seconds), 0.06 * (vector - start) / spread])

    return np.asarray(least_squares(residuals, start, loss="soft_l1", f_scale=0.1).x)


def fit_eager(one: Sample, graph: np.ndarray) -> np.ndarray:
    """launch_s and copy_bytes_per_s, given what the graph takes."""
    start = np.log([25e-6, 2e12])

    def residuals(vector: np.ndarray) -> np.ndarray:
        launch, rate = np.exp(vector)
        return np.log(np.maximum(graph + 2 * one.rows.num_bytes / rate, launch) / one.seconds)

    return np.asarray(least_squares(residuals, start, loss="soft_l1", f_scale=0.1).x)


def folds(one: Sample) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    sizes = np.unique(one.rows.num_bytes)
    for k in range(NUM_FOLDS):
        unseen = np.isin(one.rows.num_bytes, sizes[k::NUM_FOLDS])
        yield unseen, ~unseen


def ratio_of(one: Sample) -> np.ndarray:
    out = np.zeros(len(one.seconds))
    for unseen, seen in folds(one):
        out[unseen] = (one.seconds / predict(fit(one.take(seen)), one))[unseen]
    return out


def eager_ratio(one: Sample, graph: np.ndarray) -> np.ndarray:
    out = np.zeros(len(one.seconds))
    for unseen, seen in folds(one):
        launch, rate = np.exp(fit_eager(one.take(seen), graph[seen]))
        out[unseen] = (one.seconds / np.maximum(graph + 2 * one.rows.num_bytes / rate, launch))[unseen]
    return out


def write(link: str, library: str, found: dict[str, float], ratio: np.ndarray) -> None:
    low, high = np.quantile(ratio, [0.05, 0.95])
    lines = [f'name = "{link}"', "", "[[facts]]"]
    lines += [f'source = "scripts/fit_collective_kernels.py on {len(ratio)} rows of {TABLE}"', 'kind = "fitted"']
    lines += [f"{library}.{name} = {value:.4g}" for name, value in found.items()]
    lines += [f"{library}.error_low = {low:.3g}", f"{library}.error_high = {high:.3g}"]
    (LINKS / f"{link}.{library}.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the constants into the catalogue")
    writes = parser.parse_args().write
    table = read_table(Path(os.environ["AISYS_TABLES"]) / "measured" / TABLE)
    for link in DEVICES:
        for library, part in (("vllm", "vllm_graph"), ("tensorrt_llm", "trtllm")):
            one = sample(table, link, library, part)
            ratio, vector = ratio_of(one), fit(one)
            print(f"{link} {library}: {len(ratio)} rows, unseen sizes {np.abs(1 / ratio - 1).mean():.3f}")
            if writes:
                write(link, library, mapping(vector, one), ratio)
            if library == "vllm":
                eager = sample(table, link, library, "vllm_eager")
                graph = predict(vector, eager)
                far, values = eager_ratio(eager, graph), np.exp(fit_eager(eager, graph))
                print(f"{link} vllm_eager: {len(far)} rows, unseen sizes {np.abs(1 / far - 1).mean():.3f}")
                if writes:
                    write(link, "vllm_eager", {"launch_s": values[0], "copy_bytes_per_s": values[1]}, far)


if __name__ == "__main__":
    main()
