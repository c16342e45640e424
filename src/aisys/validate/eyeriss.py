"""Predicts tables of kind eyeriss: convolutions of AlexNet and VGG-16 on the fabricated chip, layer by layer.

Columns: network (alexnet_b4: AlexNet, batch 4), layer, processing_latency_ms, active_pes, ifmap_zeros_pct,
glb_access_MB, dram_access_MB. Inputs and outputs cross the DRAM compressed, by the zeros of the table: those of a
layer's output are those of the next row's input, or its own in the last row. Rows named Total sum the layers above
them; their active PEs are the mean over time. Every tier is the same.
"""

import re

import numpy as np

from aisys.cost import Tier
from aisys.cost.loop_nest.row_stationary import (
    WORD_BYTES,
    Chip,
    ConvLayer,
    RowStationary,
    best_mapping,
    dram_words,
    glb_words,
    processing_cycles,
    run_length_ratio,
)  # fmt: skip
from aisys.errors import BadInput
from aisys.frozen import FrozenMap
from aisys.machine import SpatialArray, load
from aisys.units import KILO, MEGA
from aisys.validate.prediction import Compared, Floats, Options, Prediction, no_interval
from aisys.validate.table import Table

TOTAL = "total"
_ALEXNET = {
    "CONV1": dict(groups=1, out_channels=96, in_channels=3, in_height=227, out_height=55, kernel=11, stride=4),
    "CONV2": dict(groups=2, out_channels=128, in_channels=48, in_height=31, out_height=27, kernel=5),
    "CONV3": dict(groups=1, out_channels=384, in_channels=256, in_height=15, out_height=13, kernel=3),
    "CONV4": dict(groups=2, out_channels=192, in_channels=192, in_height=15, out_height=13, kernel=3),
    "CONV5": dict(groups=2, out_channels=128, in_channels=192, in_height=15, out_height=13, kernel=3),
}
"""Source: Krizhevsky et al. 2012; heights with padding."""
_VGG_BLOCKS = ((64, 2, 224), (128, 2, 112), (256, 3, 56), (512, 3, 28), (512, 3, 14))
"""Channels, layers and height of each block. Source: Simonyan and Zisserman 2015, configuration D."""


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """Processing latency of each layer beside the measured one; DRAM traffic and active PEs beside theirs."""
    array = load.device("eyeriss-v1").architecture
    assert isinstance(array, SpatialArray)
    chip = Chip.of(array)
    zeros = table.numbers("ifmap_zeros_pct", above=-1) / 100
    names = list(zip(table.texts("network").tolist(), table.texts("layer").tolist(), strict=True))
    cycles, moved, buffered, pes = (np.full(len(table), np.nan) for _ in range(4))
    skipped: list[tuple[int, str]] = []
    for row, (network, name) in enumerate(names):
        if name.lower() == TOTAL:
            continue
        try:
            layer = _layer(network, name)
        except BadInput as error:
            skipped.append((row, str(error)))
            continue
        mapping = best_mapping(layer, chip)
        is_last = row + 1 == len(names) or names[row + 1][0] != network or names[row + 1][1].lower() == TOTAL
        cycles[row] = processing_cycles(layer, mapping, chip)
        moved[row] = _dram_bytes(layer, mapping, float(zeros[row]), float(zeros[row if is_last else row + 1]))
        buffered[row] = WORD_BYTES * glb_words(layer, mapping)
        pes[row] = mapping.active_pes(layer)
    _add_totals(names, cycles, (moved, buffered), pes, skipped)
    found = {
        "glb_access_MB": buffered / MEGA,
        "dram_access_MB": moved / MEGA,
        "active_pes": pes,
    }
    others = {
        column: Compared(predicted=values, measured=table.numbers(column, above=0), **no_interval(len(table)))
        for column, values in found.items()
        if table.has(column)
    }
    return Prediction(
        predicted=cycles / array.clock_hz * KILO, measured=table.numbers("processing_latency_ms", above=0),
        **no_interval(len(table)), skipped=tuple(sorted(skipped)), group_columns=("network",), others=FrozenMap(others),
    )  # fmt: skip


def _add_totals(
    names: list[tuple[str, str]], cycles: Floats, moved: tuple[Floats, Floats], pes: Floats,
    skipped: list[tuple[int, str]],
) -> None:  # fmt: skip
    """Fills the rows named Total from the layers of their network."""
    for row, (network, name) in enumerate(names):
        if name.lower() != TOTAL:
            continue
        parts = [i for i, (other, _) in enumerate(names) if other == network and np.isfinite(cycles[i]) and i != row]
        if not parts:
            skipped.append((row, "a total without layers"))
            continue
        for summed in (cycles, *moved):
            summed[row] = summed[parts].sum()
        pes[row] = np.round((pes[parts] * cycles[parts]).sum() / cycles[row])


def _layer(network: str, name: str) -> ConvLayer:
    """The layer that a row means. Raises BadInput for a network or layer that has no shape here."""
    found = re.fullmatch(r"(\w+?)_b(\d+)", network)
    if found is None:
        raise BadInput(f"network {network[:40]!r} is not NAME_bBATCH, such as alexnet_b4")
    kind, batch = found[1].lower().replace("-", ""), int(found[2])
    if kind == "alexnet" and name.upper() in _ALEXNET:
        return ConvLayer(batch=batch, **_ALEXNET[name.upper()])
    place = re.fullmatch(r"CONV(\d)[-_.](\d)", name.upper())
    if kind in ("vgg16", "vgg") and place and 1 <= int(place[1]) <= len(_VGG_BLOCKS):
        block, number = int(place[1]) - 1, int(place[2])
        channels, count, height = _VGG_BLOCKS[block]
        before = channels if number > 1 else 3 if block == 0 else _VGG_BLOCKS[block - 1][0]
        if 1 <= number <= count:
            return ConvLayer(
                batch=batch, groups=1, out_channels=channels, in_channels=before, in_height=height + 2,
                out_height=height, kernel=3,
            )  # fmt: skip
    raise BadInput(
        f"{network} has no layer {name[:40]!r} here; there are CONV1 to CONV5 and VGG-16's CONV1-1 to CONV5-3"
    )


def _dram_bytes(layer: ConvLayer, mapping: RowStationary, zeros_in: float, zeros_out: float) -> float:
    ifmap, filters, ofmap = dram_words(layer, mapping)
    words = ifmap * run_length_ratio(zeros_in) + filters + ofmap * run_length_ratio(zeros_out)
    return WORD_BYTES * float(words)
