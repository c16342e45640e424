"""Predicts tables of kind zigzag: layers that ZigZag mapped onto its TPU-like machine, mapped again under its costs.

Columns: opt (latency, EDP), layer, energy_pJ, latency2 (latency0 where it is empty), dims (JSON extents K C OX OY FX
FY; a product without FX). A row is compared by its objective, latency or energy times latency; below zero is a better
mapping, not an error. The row TOTAL of an objective holds the sums of its layers, chosen together. A layer
reads the nearest earlier one with as many output channels as it has input channels, which gives its stride; the first
reads 224 x 224, and is pooled to half where its kernel is 7 wide, as in ResNets. Every tier is the same.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from aisys.cost import Tier
from aisys.cost.loop_nest.ports import Layer, PortedArray, layer_front, network_front
from aisys.errors import AisysError, BadInput
from aisys.frozen import FrozenMap
from aisys.machine import load
from aisys.units import PICO
from aisys.validate.prediction import Compared, Options, Prediction, no_interval
from aisys.validate.table import Table

FIRST_INPUT, STEM_KERNEL = 224, 7


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """The objective of each layer and each network beside ZigZag's; and energy and latency by themselves."""
    array = PortedArray.of(load.device("zigzag-tpu-like"))
    names = ("energy_pJ", "latency2")
    cycles = table.numbers("latency2", above=0, empty=np.nan)
    whole = table.numbers("latency0", above=0, empty=np.nan) if np.isnan(cycles).any() else cycles
    measured = {"energy_pJ": table.numbers("energy_pJ", above=0), "latency2": np.where(np.isnan(cycles), whole, cycles)}
    predicted = {name: np.full(len(table), np.nan) for name in names}
    skipped: list[tuple[int, str]] = []
    words = [[str(text) for text in table.texts(name)] for name in ("opt", "layer", "dims")]
    layers: dict[str, list[Layer]] = {}
    for row, (opt, layer, dims) in enumerate(zip(*words, strict=True)):
        before = layers.setdefault(opt, [])
        try:
            if layer != "TOTAL":
                before.append(_layer(dims, before))
            front = network_front(before, array) if layer == "TOTAL" else layer_front(before[-1], array)
        except AisysError as error:
            skipped.append((row, str(error)))
            continue
        best = int(np.argmin(front.cycles if opt == "latency" else front.joule * front.cycles))
        predicted["energy_pJ"][row] = front.joule[best] / PICO
        predicted["latency2"][row] = front.cycles[best]
    factor = {
        name: np.where(np.array(words[0]) == "latency", 1.0, energy["energy_pJ"])
        for name, energy in (("predicted", predicted), ("measured", measured))
    }
    return Prediction(
        predicted=factor["predicted"] * predicted["latency2"], measured=factor["measured"] * measured["latency2"],
        **no_interval(len(table)), skipped=tuple(skipped), group_columns=("opt",),
        others=FrozenMap(
            {n: Compared(predicted=predicted[n], measured=measured[n], **no_interval(len(table))) for n in names}
        ),
    )  # fmt: skip


def _side(layer: Layer) -> int:
    """Extent of what the next layer reads of this one."""
    return layer.extents["OX"] // (2 if layer.extents["FX"] == STEM_KERNEL else 1)


def _layer(text: str, before: Sequence[Layer]) -> Layer:
    """A layer of the table. Raises BadInput for dims that are none."""
    try:
        dims: dict[str, Any] = json.loads(text)
        extents = {name: int(dims.get(name, 1)) for name in ("K", "C", "OX", "OY", "FX", "FY")}
    except (ValueError, TypeError, AttributeError):
        raise BadInput(f'dims {text[:60]!r} are no JSON extents; give {{"K": 64, "C": 64, "OX": 56, ...}}') from None
    if min(extents.values()) < 1:
        raise BadInput(f"dims {text[:60]!r} hold an extent below 1")
    source = next((_side(one) for one in reversed(before) if one.extents["K"] == extents["C"]), FIRST_INPUT)
    stride = max(1, source // extents["OX"]) if "FX" in dims else 1
    return Layer(extents=FrozenMap(extents), stride=stride, in_hw=(extents["OY"] * stride, extents["OX"] * stride))
