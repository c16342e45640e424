"""Fits NCCL's constants on links between nodes, and writes them beside the link's own file.

    AISYS_TABLES=... python scripts/fit_collective_network.py [--write]

Run after fit_collective.py: the constants inside the nodes are taken from the catalogue. Only the point-to-point
transfers of one H100 cluster, and a cluster and two nodes on slow networks, are measured; what large collectives reach
on InfiniBand and RoCE is assumed, and says so. Needs scipy.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from aisys.collective.layout import Rows, codes
from aisys.collective.library import nccl, nccl_tuner
from aisys.machine import link as named_link
from aisys.validate.table import read_table

LINKS = Path(__file__).parents[1] / "src/aisys/machine/catalog/link"
TABLE = "vidur_network.csv"
ASSUMED = {"efficiency": 0.92, "p2p.efficiency": 0.65, "step_factor": 1.0, "p2p.step_s": 10e-6,
           "error_low": 0.75, "error_high": 1.4}  # fmt: skip
ASSUMED_SOURCE = "assumed: large collectives reach 0.92 of the adapters' rate where these read GPU memory directly"
NUM_FOLDS = 5


@dataclass(frozen=True)
class Measured:
    """Rows of one system of the table. fits: the constants that they tell of, with where the search starts."""

    link: str
    inner: str
    system: str
    devices_per_node: int
    fits: dict[str, float]


SYSTEMS = (
    Measured("infiniband-ndr400", "nvswitch-h100", "h100_dgx", 8, {"p2p.efficiency": 0.6, "p2p.step_s": 10e-6}),
    Measured("infiniband-hdr200-host", "nvswitch-a100", "a100_dgx", 8,
             {"efficiency": 0.9, "p2p.efficiency": 0.9, "p2p.step_s": 10e-6, "step_factor": 1.0}),
    Measured("ethernet-80-quarter", "nvlink-pair-a100", "a100_pairwise_nvlink", 4,
             {"p2p.efficiency": 0.3, "p2p.step_s": 10e-6}),
)  # fmt: skip
UNMEASURED = (
    "roce-400", "infiniband-hdr200", "infiniband-hdr200-half", "infiniband-edr100-half", "ethernet-200-eighth",
)  # fmt: skip


def load(system: Measured, folder: Path) -> tuple[Rows, np.ndarray]:
    """The rows of `system` that cross nodes, and their seconds."""
    table = read_table(folder / "measured" / TABLE)
    ranks, local = table.numbers("gpus"), table.numbers("gpus_per_node")
    which = (table.texts("system") == system.system) & (ranks > local)
    link = named_link(system.link)
    device = float(link.bandwidth_bytes_per_s)
    adapter = max(device, float(link.constants["nic_bandwidth_bytes_per_s"]))
    local = local[which]
    group = np.minimum(device * system.devices_per_node, local * adapter)
    rows = Rows(op=codes(list(table.texts("op")[which])), num_bytes=table.numbers("bytes")[which], per_node=local,
                num_nodes=ranks[which] / local, network_bytes_per_s=group,
                rank_network_bytes_per_s=np.minimum(group / local, adapter))  # fmt: skip
    return rows, table.numbers("us")[which] * 1e-6


def predict(values: Sequence[float], system: Measured, rows: Rows) -> np.ndarray:
    inside = nccl.link_constants(named_link(system.inner))
    found = ASSUMED | dict(zip(system.fits, values, strict=True))
    between = nccl.NetworkConstants(
        efficiency=found["efficiency"], p2p_efficiency=found["p2p.efficiency"], step_factor=found["step_factor"],
        p2p_step_s=found["p2p.step_s"], error=(1.0, 1.0),
    )  # fmt: skip
    return nccl.duration_s(rows, nccl_tuner.choose(rows, inside.seen), inside, between)


def fit(system: Measured, rows: Rows, seconds: np.ndarray) -> np.ndarray:
    start = np.log(list(system.fits.values()))

    def residuals(vector: np.ndarray) -> np.ndarray:
        errors = np.log(predict(np.exp(vector), system, rows) / seconds)
        return np.concatenate([errors, 0.1 * (vector - start)])

    return np.exp(least_squares(residuals, start, loss="soft_l1", f_scale=0.1).x)


def folds(system: Measured, rows: Rows, seconds: np.ndarray) -> np.ndarray:
    """measured / predicted of each row, by fits that have not seen its size."""
    sizes = np.unique(rows.num_bytes)
    out = np.zeros(len(seconds))
    for k in range(NUM_FOLDS):
        unseen = np.isin(rows.num_bytes, sizes[k::NUM_FOLDS])
        seen = np.flatnonzero(~unseen)
        values = fit(system, rows.take(seen), seconds[seen])
        out[unseen] = (seconds / predict(values, system, rows))[unseen]
    return out


def write(link: str, fitted: dict[str, float], source: str, assumed: dict[str, float]) -> None:
    lines = [f'name = "{link}"']
    for values, origin, kind in ((fitted, source, "fitted"), (assumed, ASSUMED_SOURCE, "assumed")):
        if values:
            lines += ["", "[[facts]]", f'source = "{origin}"', f'kind = "{kind}"']
            lines += [f"nccl.{name} = {value:.4g}" for name, value in values.items()]
    (LINKS / f"{link}.nccl.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the constants into the catalogue")
    writes = parser.parse_args().write
    for system in SYSTEMS:
        rows, seconds = load(system, Path(os.environ["AISYS_TABLES"]))
        ratio = folds(system, rows, seconds)
        fitted = dict(zip(system.fits, map(float, fit(system, rows, seconds)), strict=True))
        print(f"{system.link}: {len(ratio)} rows, unseen sizes {np.abs(1 / ratio - 1).mean():.3f}", fitted)
        if "efficiency" in fitted or "pair" in system.inner:
            fitted |= dict(zip(("error_low", "error_high"), map(float, np.quantile(ratio, [0.05, 0.95])), strict=True))
        if writes:
            source = f"scripts/fit_collective_network.py on {len(ratio)} rows of {TABLE}"
            write(system.link, fitted, source, {k: v for k, v in ASSUMED.items() if k not in fitted})
    for link in UNMEASURED:
        if writes:
            write(link, {}, "", ASSUMED)


if __name__ == "__main__":
    main()
