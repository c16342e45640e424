"""Predicts tables of kind tpu_v1: operations per second of whole applications on the first TPU, from their size alone.

Columns: app, layers, weights_M (millions of bytes), ops_per_weight_byte (multiply-accumulates), measured_TOPS;
array_active (% of cycles) where there is one. Shapes of layers are not in such a table: each is taken to be a square
matrix of the mean size, cut into whole tiles of the array. A tile takes the longest of its vectors, of the shift of
the next weights into the array and of their way from the weight memory; activations stay on the chip. Nothing is
fitted. Not modelled: what waits on the host, vector operations, and layers that differ. Every tier is the same.
"""

import numpy as np

from aisys.cost import Tier
from aisys.frozen import FrozenMap
from aisys.machine import Device, SpatialArray, load
from aisys.units import MEGA, TERA
from aisys.validate.prediction import Compared, Floats, Options, Prediction, no_interval
from aisys.validate.table import Table

DEVICE = "tpu-v1"


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """Tera-operations per second of each app, two per multiply-accumulate, and the share of cycles that multiply."""
    weights = table.numbers("weights_M", above=0.0) * MEGA
    vectors = table.numbers("ops_per_weight_byte", above=0.0)
    layers = table.numbers("layers", above=0.0)
    rate, active = rates(weights / layers, vectors, load.device(DEVICE))
    others = {}
    if table.has("array_active"):
        measured = table.numbers("array_active", above=0.0)
        others["array_active"] = Compared(predicted=100 * active, measured=measured, **no_interval(len(table)))
    return Prediction(
        predicted=rate / TERA, measured=table.numbers("measured_TOPS", above=0.0), **no_interval(len(table)),
        group_columns=("app",), others=FrozenMap(others),
    )  # fmt: skip


def rates(layer_bytes: Floats, vectors: Floats, device: Device) -> tuple[Floats, Floats]:
    """Operations per second, and the share of cycles in which the array multiplies, of square layers of so many bytes
    that each weight multiplies `vectors` times.
    """
    array = device.architecture
    assert isinstance(array, SpatialArray)
    rows, cols = (float(array.levels["accumulators"].fanout[dim]) for dim in ("rows", "cols"))
    side = np.sqrt(layer_bytes)
    tiles = np.ceil(side / rows) * np.ceil(side / cols)
    loading = rows * cols / float(device.main_memory.bandwidth_bytes_per_s / array.clock_hz)
    cycles = np.maximum(np.maximum(vectors, rows), loading)
    per_s = 2 * layer_bytes * vectors / (tiles * cycles) * float(array.clock_hz)
    return per_s, vectors / cycles
