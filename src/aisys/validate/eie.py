"""Predicts tables of kind eie: actual times of sparse layers on EIE's elements, which run at 800 MHz.

Columns: layer (Alex-6, VGG-7, NT-LSTM, ...), actual_cycles or actual_us; num_pes (64 where left out). rows, columns,
weight_density and activation_density of a layer that is not one of the published nine. Every tier is the same: a random
matrix of the densities really runs.
"""

import re

import numpy as np

from aisys.cost import Tier
from aisys.cost.eie import CLOCK_HZ, LAYERS, Layer
from aisys.errors import AisysError, unknown_name
from aisys.kernel.interleaved_csc import NUM_PES
from aisys.validate.prediction import Options, Prediction, no_interval
from aisys.validate.table import Table

_SHAPE = ("rows", "columns", "weight_density", "activation_density")


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """The time of each layer beside the table's; a layer that is neither known nor described is skipped."""
    predicted, skipped = np.full(len(table), np.nan), []
    num_pes = table.counts("num_pes") if table.has("num_pes") else np.full(len(table), NUM_PES)
    shape = {name: table.numbers(name, empty=0.0) for name in _SHAPE if table.has(name)}
    for row, name in enumerate(table.texts("layer")):
        try:
            layer = _layer(str(name), {column: float(values[row]) for column, values in shape.items()})
        except AisysError as error:
            skipped.append((row, str(error)))
            continue
        predicted[row] = layer.run(int(num_pes[row])).cycles
    is_cycles = table.has("actual_cycles")
    return Prediction(
        predicted=predicted if is_cycles else predicted / CLOCK_HZ * 1e6,
        measured=table.numbers("actual_cycles" if is_cycles else "actual_us", above=0.0), **no_interval(len(table)),
        skipped=tuple(skipped),
    )  # fmt: skip


def _layer(name: str, shape: dict[str, float]) -> Layer:
    if len(shape) == len(_SHAPE) and all(shape.values()):
        rows, columns, weights, activations = (shape[column] for column in _SHAPE)
        return Layer(
            rows=int(rows), columns=int(columns), weight_density=weights, activation_density=activations
        )  # fmt: skip
    known = {_letters(one): layer for one, layer in LAYERS.items()}
    if _letters(name) not in known:
        raise unknown_name("layer of EIE", name, tuple(LAYERS))
    return known[_letters(name)]


def _letters(name: str) -> str:
    """`NT-LSTM` and `nt_lstm` are one layer."""
    return re.sub(r"[\W_]", "", name).lower()
