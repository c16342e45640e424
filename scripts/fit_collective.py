"""Fits NCCL's constants on each kind of link, and writes them beside the link's own file.

    AISYS_TABLES=... python scripts/fit_collective.py [--write]

Prints the error on rows that the fit has not seen: sizes in folds, and every NVSwitch generation predicted from the
other two. Needs scipy.
"""

import argparse
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from aisys.collective.layout import Rows, codes
from aisys.collective.library import nccl, nccl_tuner
from aisys.machine import link as named_link
from aisys.validate.table import Table, read_table

LINKS = Path(__file__).parents[1] / "src/aisys/machine/catalog/link"
NCCL = "NVIDIA NCCL 2.29.2, src/graph/tuning.cc, topo.h and search.cc, 2025"
OP = {"alltoall": "all_to_all"}
NUM_FOLDS = 5
PRIOR_WEIGHT = 0.06
OTHER_NODES, OTHER_GENERATIONS = 1.2, 1.5
"""Exponents that widen an interval (assumed): one node of each kind was measured, and two other generations."""
NUM_PROTOCOL_VALUES = len(nccl.PROTOCOLS) * len(nccl.FIELDS)

START = {
    "ll": (1e-12, 0.8e-6, 2e-6, 16e3, 0.32, 2), "ll128": (15e-6, 1.5e-6, 0.1e-6, 1e6, 0.64, 1.5),
    "simple": (15e-6, 3e-6, 7e-6, 4e6, 0.77, 1.5), "nvls": (25e-6, 1e-8, 30e-6, 8e6, 0.6, 1.2),
    "p2p_ll": (6e-6, 0.15e-6, 4e-6, 16e3, 0.25, 2), "p2p_simple": (10e-6, 0.2e-6, 5e-6, 1e6, 0.75, 1.0),
}  # fmt: skip
"""Where the search starts; constants that no row tells of stay there."""
SPREAD = {
    "ll": (0.01, 1, 1, 0.7, 0.3, 0.3), "ll128": (0.5, 0.4, 0.3, 0.3, 0.2, 0.2), "simple": (0.7, 0.7, 1, 0.7, 0.15, 0.3),
    "nvls": (0.5, 0.01, 1, 0.7, 0.3, 0.2), "p2p_ll": (1, 1, 1, 0.7, 0.3, 0.3),
    "p2p_simple": (0.7, 0.7, 1, 0.7, 0.15, 0.3),
}  # fmt: skip
"""How far each may move: one standard deviation of its logarithm."""
SCALARS = {
    "launch_s": (5e-6, 1), "copy": (0.4, 0.3), "nvls.copy": (0.5, 0.7), "p2p.copy": (0.4, 0.3),
    "gather_growth": (1.2, 0.3), "gather_wire": (1.0, 0.05),
}  # fmt: skip


@dataclass(frozen=True)
class Known:
    """What NCCL's tuner knows of a link (see nccl_tuner.Seen), and the numbers of ranks that have a share each."""

    generation: int
    bandwidth: float
    num_channels: int
    has_nvls: bool = False
    has_ll128: bool = True
    ranks: tuple[int, ...] = ()
    like: str = ""


SWITCHES = {
    "nvswitch-a100": Known(1, 240e9, 12),
    "nvswitch-h100": Known(2, 360e9, 24, has_nvls=True),
    "nvswitch-b200": Known(3, 720e9, 16, has_nvls=True, has_ll128=False),
}
"""B200: the one all-gather row that the tuner would give to LL128 lies on the curve of the simple protocol."""
OTHERS = {
    "pcie4-x16-two-sockets": Known(1, 24e9, 4, has_ll128=False, ranks=(2, 4, 8)),
    "pcie4-x16-pairs": Known(1, 24e9, 4, has_ll128=False, like="pcie4-x16-two-sockets"),
    "pcie5-x16-pairs": Known(2, 48e9, 4, has_ll128=False, like="pcie4-x16-two-sockets"),
    "nvlink-pair-a100": Known(1, 240e9, 12, like="nvswitch-a100"),
    "nvlink-pair-h100": Known(2, 240e9, 12, like="nvswitch-h100"),
    "nvlink-a100-x4": Known(1, 240e9, 12, like="nvswitch-a100"),
    "nvlink-v100": Known(0, 120e9, 6, ranks=(2, 3, 4, 5, 6, 7, 8), like="nvswitch-a100"),
}
"""`like`: the link whose fitted constants the search starts at."""
UNMEASURED_PCIE, UNMEASURED_ERROR = ("pcie3-x16", "pcie4-x16", "pcie5-x16"), (0.3, 3.0)


@dataclass(frozen=True)
class Sample:
    """Rows of one link with their measured time and the algorithm that NCCL picks."""

    link: str
    rows: Rows
    seconds: np.ndarray
    chosen: np.ndarray
    tables: tuple[str, ...]

    def take(self, which: np.ndarray) -> "Sample":
        index = np.flatnonzero(which)
        return replace(self, rows=self.rows.take(index), seconds=self.seconds[index], chosen=self.chosen[index])


@dataclass(frozen=True)
class Space:
    """Logarithms of all constants: where the search starts, and how far each may move."""

    start: np.ndarray
    spread: np.ndarray
    ranks: tuple[int, ...] = field(default=())


def known(link: str) -> Known:
    return {**SWITCHES, **OTHERS}[link]


def sample(link: str, op: Iterable[str], columns: Sequence[np.ndarray], table: str) -> Sample:
    """A Sample from ops, and columns of bytes, ranks and seconds."""
    size, ranks, seconds = columns
    nothing = np.full(len(size), np.inf)
    rows = Rows(op=codes([OP.get(o, o) for o in op]), num_bytes=size, per_node=ranks, num_nodes=np.ones(len(size)),
                network_bytes_per_s=nothing, rank_network_bytes_per_s=nothing)  # fmt: skip
    return Sample(link, rows, seconds, nccl_tuner.choose(rows, constants(first_space(link).start, link).seen), (table,))


def samples(folder: Path) -> dict[str, Sample]:
    """The rows of every link that has some."""
    found = kernels(read_table(folder / "measured/gpu_collectives.csv"))
    found |= pairs(read_table(folder / "measured/vidur_network.csv"))
    found["nvlink-v100"] = cube(read_table(folder / "measured/nccl_allreduce_one_node.csv"))
    found["nvlink-a100-x4"] = four(read_table(folder / "measured/llmcompass_ops.csv"))
    return found


def kernels(table: Table) -> dict[str, Sample]:
    """NCCL rows; large all-reduces of TensorRT-LLM on NVSwitch are NCCL's too."""
    device, library = table.texts("device"), table.texts("lib")
    size, ranks, seconds = table.numbers("bytes"), table.numbers("gpus"), table.numbers("us") * 1e-6
    is_switch = np.char.find(device, "NVSwitch") >= 0
    falls_back = (np.char.find(library, "trtllm-1.3") >= 0) & (size > 2**25) & is_switch
    is_nccl = np.char.startswith(library, "nccl") | falls_back
    names = {"nvswitch-a100": "A100", "nvswitch-h100": "H100", "nvswitch-b200": "B200", "pcie4-x16-two-sockets": "L40S"}
    out = {}
    for link, start in names.items():
        which = is_nccl & np.char.startswith(device, start)
        out[link] = sample(link, table.texts("op")[which], (size[which], ranks[which], seconds[which]), table.path.name)
    return out


def pairs(table: Table) -> dict[str, Sample]:
    """All-reduce of pairwise NVLink nodes: two GPUs on the bridge, four across PCIe."""
    system, op, ranks = table.texts("system"), table.texts("op"), table.numbers("gpus")
    size, seconds = table.numbers("bytes"), table.numbers("us") * 1e-6
    out = {}
    for link, name, count in (
        ("nvlink-pair-a100", "a100_pairwise_nvlink", 2), ("nvlink-pair-h100", "h100_pairwise_nvlink", 2),
        ("pcie4-x16-pairs", "a100_pairwise_nvlink", 4), ("pcie5-x16-pairs", "h100_pairwise_nvlink", 4),
    ):  # fmt: skip
        which = (system == name) & (op == "all_reduce") & (ranks == count)
        out[link] = sample(link, op[which], (size[which], ranks[which], seconds[which]), table.path.name)
    return out


def cube(table: Table) -> Sample:
    """All-reduce on the hybrid cube mesh of eight V100."""
    which = table.texts("gpu") == "v100"
    size, ranks, seconds = table.numbers("size_bytes"), table.numbers("n"), table.numbers("time_oop_us") * 1e-6
    columns = (size[which], ranks[which], seconds[which])
    return sample("nvlink-v100", ["all_reduce"] * int(which.sum()), columns, table.path.name)


def four(table: Table) -> Sample:
    """All-reduce of four A100, each linked to the three others."""
    which = table.texts("op") == "all_reduce_bytes"
    size, seconds = table.numbers("d0", empty=0)[which], table.numbers("us")[which] * 1e-6
    columns = (size, np.full(len(size), 4.0), seconds)
    return sample("nvlink-a100-x4", ["all_reduce"] * len(size), columns, table.path.name)


def first_space(link: str) -> Space:
    ranks = known(link).ranks
    values = [v for p in nccl.PROTOCOLS for v in START[p]] + [v for v, _ in SCALARS.values()] + [0.5] * len(ranks)
    spread = [s for p in nccl.PROTOCOLS for s in SPREAD[p]] + [s for _, s in SCALARS.values()] + [2.0] * len(ranks)
    return Space(np.log(values), np.array(spread, float), ranks)


def space(link: str, fitted: dict[str, np.ndarray]) -> Space:
    """The first space, moved to the constants of the link that this one is like."""
    first, like = first_space(link), known(link).like
    if not like:
        return first
    num = NUM_PROTOCOL_VALUES + len(SCALARS)
    start = np.concatenate([fitted[like][:num], first.start[num:]])
    return Space(start, first.spread, first.ranks)


def constants(vector: np.ndarray, link: str, error: np.ndarray | None = None) -> nccl.LinkConstants:
    values, about = np.exp(vector), known(link)
    scalars = dict(zip(SCALARS, values[NUM_PROTOCOL_VALUES:], strict=False))
    shares = values[NUM_PROTOCOL_VALUES + len(SCALARS) :]
    return nccl.LinkConstants(
        bandwidth_bytes_per_s=float(named_link(link).bandwidth_bytes_per_s),
        protocols=values[:NUM_PROTOCOL_VALUES].reshape(len(nccl.PROTOCOLS), len(nccl.FIELDS)),
        launch_s=scalars["launch_s"], copy=scalars["copy"], nvls_copy=scalars["nvls.copy"],
        p2p_copy=scalars["p2p.copy"], gather_growth=scalars["gather_growth"], gather_wire=scalars["gather_wire"],
        shares=(tuple(np.log2(about.ranks)), tuple(shares)), error=np.ones((6, 2)) if error is None else error,
        seen=nccl_tuner.Seen(
            generation=about.generation, is_pcie="pcie" in link, bandwidth_bytes_per_s=about.bandwidth,
            num_channels=about.num_channels, has_nvls=about.has_nvls, has_ll128=about.has_ll128,
        ),
    )  # fmt: skip


def predict(vector: np.ndarray, found: Sample) -> np.ndarray:
    return nccl.duration_s(found.rows, found.chosen, constants(vector, found.link), None)


def fit(found: Sequence[Sample], where: Space) -> np.ndarray:
    def residuals(vector: np.ndarray) -> np.ndarray:
        errors = [np.log(predict(vector, s) / s.seconds) for s in found]
        return np.concatenate([*errors, PRIOR_WEIGHT * (vector - where.start) / where.spread])

    return np.asarray(least_squares(residuals, where.start, loss="soft_l1", f_scale=0.1).x)


def folds(found: Sample, where: Space) -> np.ndarray:
    """measured / predicted of each row, by fits that have not seen its size."""
    sizes = np.unique(found.rows.num_bytes)
    out = np.zeros(len(found.seconds))
    for k in range(NUM_FOLDS):
        unseen = np.isin(found.rows.num_bytes, sizes[k::NUM_FOLDS])
        out[unseen] = (found.seconds / predict(fit([found.take(~unseen)], where), found))[unseen]
    return out


def mape(ratio: np.ndarray) -> float:
    return float(np.abs(1 / ratio - 1).mean())


def error_of(
    ratios: Sequence[np.ndarray], chosen: Sequence[np.ndarray], widening: float,
    quantiles: tuple[float, float] = (0.05, 0.95),
) -> np.ndarray:  # fmt: skip
    """The 90 % interval, array [PROTOCOLS, 2], from unseen rows; a protocol with few rows takes that of all rows.

    widening: exponent on the quantiles, for nodes, or generations, of which the tables hold one or two.
    """
    ratio, protocol = np.concatenate(ratios), nccl.PROTOCOL_OF[np.concatenate(chosen)]
    every = np.quantile(ratio, quantiles)
    rows = [ratio[protocol == i] for i in range(len(nccl.PROTOCOLS))]
    return np.array([np.quantile(r, quantiles) if len(r) >= 12 else every for r in rows]) ** widening


def far_error_of(ratios: Sequence[np.ndarray], chosen: Sequence[np.ndarray]) -> np.ndarray:
    """As error_of, for a generation without rows: it may be faster or slower, so that the interval has equal sides."""
    away = error_of([np.abs(np.log(r)) for r in ratios], chosen, 1.0, (0.9, 0.9))
    return np.exp(away * OTHER_GENERATIONS * np.array([-1, 1]))


def write(name: str, vector: np.ndarray, error: np.ndarray, source: str, *, link: str, kind: str = "fitted") -> None:
    """The file of constants `name`.toml, by the knowledge about `link`."""
    about, found = known(link), constants(vector, link, error)
    lines = [f'name = "{name.split(".")[0]}"', "", "[[facts]]", f'source = "{NCCL}"', 'kind = "datasheet"']
    lines += [f"nccl.tuner.generation = {about.generation}", f"nccl.tuner.bandwidth_bytes_per_s = {about.bandwidth:g}"]
    lines += [f"nccl.tuner.num_channels = {about.num_channels}", f"nccl.tuner.has_nvls = {about.has_nvls:d}"]
    lines += [f"nccl.tuner.has_ll128 = {about.has_ll128:d}"]
    lines += ["", "[[facts]]", f'source = "{source}"', f'kind = "{kind}"']
    for protocol, values, interval in zip(nccl.PROTOCOLS, found.protocols, found.error, strict=True):
        shown = [0.0 if v < 1e-11 else v for v in values]
        lines += [f"nccl.{protocol}.{f} = {v:.4g}" for f, v in zip(nccl.FIELDS, shown, strict=True)]
        lines += [f"nccl.{protocol}.error_low = {interval[0]:.3g}", f"nccl.{protocol}.error_high = {interval[1]:.3g}"]
    scalars = dict(zip(SCALARS, np.exp(vector[NUM_PROTOCOL_VALUES:]), strict=False))
    lines += [f"nccl.{field} = {value:.4g}" for field, value in scalars.items()]
    lines += [f"nccl.share.{n} = {s:.4g}" for n, s in zip(about.ranks, found.shares[1], strict=True)]
    (LINKS / f"{name}.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def fit_switches(found: dict[str, Sample], writes: bool) -> dict[str, np.ndarray]:
    """The NVSwitch generations, each alone and from the other two."""
    ratios = {name: folds(found[name], first_space(name)) for name in SWITCHES}
    error = error_of(list(ratios.values()), [found[name].chosen for name in SWITCHES], OTHER_NODES)
    fitted, far = {}, {}
    for name in SWITCHES:
        where = first_space(name)
        fitted[name] = fit([found[name]], where)
        others = [found[n] for n in SWITCHES if n != name]
        vector = fit(others, where)
        far[name] = (vector, found[name].seconds / predict(vector, found[name]))
        near, unseen = mape(ratios[name]), mape(far[name][1])
        print(f"{name}: {len(ratios[name])} rows, unseen sizes {near:.3f}, unseen generation {unseen:.3f}")
    for name in SWITCHES:
        rest = [n for n in SWITCHES if n != name]
        far_error = far_error_of([far[n][1] for n in rest], [found[n].chosen for n in rest])
        if writes:
            source = f"scripts/fit_collective.py on {len(found[name].seconds)} rows of {found[name].tables[0]}"
            write(f"{name}.nccl", fitted[name], error, source, link=name)
            source = f"scripts/fit_collective.py on {', '.join(rest)}, without a row of {name}"
            write(f"{name}.nccl.transfer", far[name][0], far_error, source, link=name)
    return fitted


def write_unmeasured_pcie(fitted: dict[str, np.ndarray]) -> None:
    """PCIe nodes that no table has: between the slow one and the fast one of those measured, and as unsure."""
    slow = fitted["pcie4-x16-two-sockets"].copy()
    num = len(SCALARS) + NUM_PROTOCOL_VALUES
    simple = nccl.PROTOCOLS.index("simple") * len(nccl.FIELDS) + nccl.FIELDS.index("efficiency")
    fast = fitted["pcie4-x16-pairs"][simple] - slow[simple]
    slow[num:] = (slow[num:] + np.minimum(fast, 0)) / 2
    source = "assumed: the geometric mean of the bandwidths of two PCIe nodes, which differ by 4 to 15 times"
    error = np.tile(UNMEASURED_ERROR, (len(nccl.PROTOCOLS), 1))
    for name in UNMEASURED_PCIE:
        write(f"{name}.nccl", slow, error, source, link="pcie4-x16-two-sockets", kind="assumed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the constants into the catalogue")
    writes = parser.parse_args().write
    found = samples(Path(os.environ["AISYS_TABLES"]))
    fitted = fit_switches(found, writes)
    for name in OTHERS:
        where = space(name, fitted)
        ratio = folds(found[name], where)
        fitted[name] = fit([found[name]], where)
        print(f"{name}: {len(ratio)} rows, unseen sizes {mape(ratio):.3f}")
        if writes:
            source = f"scripts/fit_collective.py on {len(ratio)} rows of {found[name].tables[0]}"
            write(f"{name}.nccl", fitted[name], error_of([ratio], [found[name].chosen], OTHER_NODES), source, link=name)
    if writes:
        write_unmeasured_pcie(fitted)


if __name__ == "__main__":
    main()
