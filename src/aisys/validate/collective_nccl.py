"""Predicts tables of kind collective_nccl: all-reduce of nccl-tests on one or several nodes.

Columns: gpu, gpus, nodes, size_bytes, time_us. The calibrated tier is the analytic one.
"""

from collections.abc import Mapping

import numpy as np

from aisys.cost import Tier
from aisys.errors import AisysError, unknown_name
from aisys.validate.collective import Filled, price
from aisys.validate.fabric import wired
from aisys.validate.prediction import Options, Prediction
from aisys.validate.table import Table

NODES: Mapping[str, str] = {
    "A100": "dgx-a100", "A100-40GB": "dgx-a100-40", "A100-80GB": "dgx-a100", "H100": "dgx-h100", "H200": "h200-node",
    "B200": "dgx-b200", "GB200": "gb200-nvl72", "V100": "dgx-v100", "V100-16GB": "dgx-v100", "V100-32GB": "dgx-v100",
    "MI300X": "mi300x-node",
}  # fmt: skip
"""The name of a GPU, and the node that such logs come from."""


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """The time of each row beside the measured one, in us."""
    seconds = table.numbers("time_us", above=0) * 1e-6
    size, ranks, nodes = table.numbers("size_bytes", above=-1), table.counts("gpus"), table.counts("nodes")
    gpu, out = table.texts("gpu"), Filled(len(table))
    for name in dict.fromkeys(gpu):
        chosen = np.flatnonzero(gpu == name)
        try:
            if name not in NODES:
                raise unknown_name("GPU", str(name), NODES)
            machine = wired(NODES[str(name)], int(ranks[chosen].max()), options, num_nodes=int(nodes[chosen].max()))
            where = ranks[chosen], ranks[chosen] // nodes[chosen]
            out.fill(chosen, price(machine, ("nccl", "all_reduce"), size[chosen], where, tier))
        except AisysError as error:
            out.skipped += [(int(row), str(error)) for row in chosen]
    return out.prediction(seconds, ("gpu", "gpus", "nodes"))
