"""Predicts tables of kind collective_astrasim: all-reduces that ASTRA-sim's analytical backends simulated.

Columns: backend (unaware or aware of congestion), topology, algorithm, npus, size_bytes, bw_gbps, lat_ns, chunks,
sim_ns. Every tier answers with the same closed form, which has no interval. Runs that timed out are skipped.
"""

import numpy as np

from aisys.collective.astrasim import AstraNetwork, all_reduce_ns
from aisys.cost import Tier
from aisys.errors import AisysError
from aisys.validate.prediction import Options, Prediction, no_interval
from aisys.validate.table import Table


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """Our closed form beside the simulated time, in ns."""
    measured = table.numbers("sim_ns", above=0, empty=np.nan)
    predicted = np.full(len(table), np.nan)
    skipped: list[tuple[int, str]] = []
    topology, algorithm, backend = (table.texts(column) for column in ("topology", "algorithm", "backend"))
    npus, size, chunks = table.counts("npus"), table.counts("size_bytes"), table.counts("chunks")
    bandwidth, latency = table.numbers("bw_gbps", above=0), table.numbers("lat_ns", above=-1)
    for row in range(len(table)):
        if np.isnan(measured[row]):
            skipped.append((row, "ASTRA-sim gave no result for this row"))
            continue
        network = AstraNetwork(
            topology=str(topology[row]), num_npus=int(npus[row]), bandwidth_gib_per_s=float(bandwidth[row]),
            latency_ns=float(latency[row]), is_congestion_aware=backend[row] == "aware",
        )  # fmt: skip
        try:
            predicted[row] = all_reduce_ns(str(algorithm[row]), int(size[row]), network, num_chunks=int(chunks[row]))
        except AisysError as error:
            skipped.append((row, str(error)))
    return Prediction(
        predicted=predicted, measured=measured, **no_interval(len(table)), skipped=tuple(skipped),
        group_columns=("backend", "topology", "algorithm", "npus"),
    )  # fmt: skip
