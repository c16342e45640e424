"""Predicts tables of kind collective_lut: all-reduce of nccl-tests inside one node, in fine steps of size.

Columns: gpu, n (ranks), size_bytes, time_oop_us, and time_ip_us where the sum replaces its input, which is compared
beside it. The calibrated tier is the analytic one.
"""

from collections.abc import Mapping

import numpy as np

from aisys.cost import Tier
from aisys.errors import AisysError, unknown_name
from aisys.frozen import FrozenMap
from aisys.validate.collective import Filled, price
from aisys.validate.fabric import wired
from aisys.validate.prediction import Compared, Options, Prediction
from aisys.validate.table import Table

NODES: Mapping[str, str] = {"a100": "dgx-a100", "v100": "dgx-v100"}
"""Source: Bang et al. 2024 (vTrain): eight A100 on NVSwitch, eight V100 on a hybrid cube mesh."""


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """The time of each row beside the measured ones, in us."""
    seconds = table.numbers("time_oop_us", above=0) * 1e-6
    size, ranks = table.numbers("size_bytes", above=-1), table.counts("n")
    gpu, out = table.texts("gpu"), Filled(len(table))
    for name in dict.fromkeys(gpu):
        chosen = np.flatnonzero(gpu == name)
        try:
            if name.lower() not in NODES:
                raise unknown_name("GPU", str(name), NODES)
            machine = wired(NODES[name.lower()], int(ranks[chosen].max()), options)
            where = ranks[chosen], ranks[chosen]
            out.fill(chosen, price(machine, ("nccl", "all_reduce"), size[chosen], where, tier))
        except AisysError as error:
            out.skipped += [(int(row), str(error)) for row in chosen]
    main = out.prediction(seconds, ("gpu", "n"))
    if not table.has("time_ip_us"):
        return main
    in_place = Compared(
        predicted=main.predicted, measured=table.numbers("time_ip_us", above=0), low=main.low, high=main.high
    )
    return Prediction(
        predicted=main.predicted, measured=main.measured, low=main.low, high=main.high, skipped=main.skipped,
        group_columns=main.group_columns, others=FrozenMap({"time_ip_us": in_place}),
    )  # fmt: skip
