"""Predicts tables of kind network: all-reduce and point-to-point transfers inside a node and between nodes.

Columns: system (a machine of the catalogue), op, gpus, gpus_per_node, bytes, us. Several nodes where gpus is more than
gpus_per_node. The networks of the systems in Source are those that they had, not those of the catalogue's machine.
Source: microsoft/vidur 7d47513, data/profiling/network. The calibrated tier is the analytic one.
"""

from collections.abc import Mapping

import numpy as np

from aisys.cost import Tier
from aisys.errors import AisysError
from aisys.machine import link as named_link
from aisys.validate.collective import Filled, price
from aisys.validate.fabric import wired
from aisys.validate.prediction import Options, Prediction
from aisys.validate.table import Table

NETWORKS: Mapping[str, str] = {"a100_dgx": "infiniband-hdr200-host"}
"""System to the link between its nodes, where the machine of that name has another."""


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """The time of each row beside the measured one, in us."""
    seconds = table.numbers("us", above=0) * 1e-6
    size, ranks, local = table.numbers("bytes", above=-1), table.counts("gpus"), table.counts("gpus_per_node")
    keys = list(zip(table.texts("system"), table.texts("op"), strict=True))
    out = Filled(len(table))
    for system, op in dict.fromkeys(keys):
        chosen = np.array([i for i, k in enumerate(keys) if k == (system, op)])
        per_node = np.minimum(local[chosen], ranks[chosen])
        try:
            most, nodes = int(ranks[chosen].max()), int((ranks[chosen] // per_node).max())
            machine = wired(str(system), most, options, num_nodes=nodes)
            if system in NETWORKS and "network" in machine.mesh:
                machine = machine.with_link("network", named_link(NETWORKS[system], constants=options.constants))
            out.fill(chosen, price(machine, ("nccl", str(op)), size[chosen], (ranks[chosen], per_node), tier))
        except AisysError as error:
            out.skipped += [(int(row), str(error)) for row in chosen]
    return out.prediction(seconds, ("system", "op", "gpus", "gpus_per_node"))
