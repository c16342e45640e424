"""Predicts tables of kind collective: one collective inside a node, by NCCL or by a serving framework.

Columns: device (a machine of the catalogue), lib, op, gpus, bytes (as nccl-tests counts them), us. lib: nccl-VERSION,
or custom-FRAMEWORK-VERSION-MODE. The calibrated tier is the analytic one: nothing is learned from residuals.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from aisys import collective
from aisys.cost import Tier
from aisys.errors import AisysError
from aisys.validate.fabric import Wired, spread, wired
from aisys.validate.prediction import Floats, Options, Prediction
from aisys.validate.table import Table

Counts = NDArray[np.int64]

LIBRARIES: Mapping[str, str] = {
    "nccl": "nccl", "rccl": "nccl", "custom-trtllm": "tensorrt_llm", "custom-vllm": "vllm",
}  # fmt: skip
"""How the name of a library begins, and what prices it."""
OPS: Mapping[str, str] = {"alltoall": "all_to_all", "sendrecv": "send_recv"}


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """The time of each row beside the measured one, in us."""
    seconds = table.numbers("us", above=0) * 1e-6
    size, ranks = table.numbers("bytes", above=-1), table.counts("gpus")
    keys = list(zip(table.texts("device"), table.texts("lib"), table.texts("op"), strict=True))
    out = Filled(len(table))
    for key in dict.fromkeys(keys):
        chosen = np.array([i for i, k in enumerate(keys) if k == key])
        try:
            machine = wired(str(key[0]), int(ranks[chosen].max()), options)
            where = ranks[chosen], np.minimum(ranks[chosen], machine.devices_per_node)
            priced = price(machine, (str(key[1]), str(key[2])), size[chosen], where, tier)
        except AisysError as error:
            out.skipped += [(int(row), str(error)) for row in chosen]
            continue
        out.fill(chosen, priced)
    return out.prediction(seconds, ("device", "lib", "op", "gpus"))


def price(
    machine: Wired, what: tuple[str, str], size: Floats, where: tuple[Counts, Counts], tier: Tier
) -> collective.CollectiveCost:
    """The cost of rows that share `what`: library and op. where: ranks, and ranks in each node.

    Raises UnknownName for a library or an op.
    """
    op = OPS.get(what[1], what[1])
    members = spread(machine, *where)
    if tier == "limit":
        return collective.limit(op, size, members, machine)
    return collective.time(op, size, members, machine, library=library(what[0]))


def library(name: str) -> str:
    """The library of AISys that prices `name`; the name itself where nothing begins like it."""
    if name.startswith("custom-vllm") and name.endswith("eager"):
        return "vllm_eager"
    return next((found for start, found in LIBRARIES.items() if name.startswith(start)), name)


class Filled:
    """Arrays [rows] of a prediction in us, filled part by part."""

    def __init__(self, num_rows: int) -> None:
        self.predicted, self.low, self.high = (np.full(num_rows, np.nan) for _ in range(3))
        self.skipped: list[tuple[int, str]] = []

    def fill(self, rows: Counts, cost: collective.CollectiveCost) -> None:
        """What `cost` says of the given rows."""
        self.predicted[rows] = cost.time_s * 1e6
        self.low[rows] = cost.time_s * cost.error_low * 1e6
        self.high[rows] = cost.time_s * cost.error_high * 1e6

    def prediction(self, seconds: Floats, group_columns: tuple[str, ...]) -> Prediction:
        """The prediction beside the measured seconds."""
        return Prediction(
            predicted=self.predicted, measured=seconds * 1e6, low=self.low, high=self.high,
            skipped=tuple(sorted(self.skipped)), group_columns=group_columns,
        )  # fmt: skip
