"""ZigZag 3.9.1's own figures for nests of ResNet-18 on its TPU-like machine, and the laws that they follow from."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisys.cost.loop_nest.ports import Layer, PortedArray, evaluate
from aisys.cost.loop_nest.ports.latency import covered
from aisys.cost.loop_nest.ports.nest import DIMS, Nests
from aisys.frozen import FrozenMap
from aisys.machine import load
from aisys.units import PICO
from aisys.validate import predict, read_table

TABLES = os.environ.get("AISYS_TABLES")

NESTS = [
    # extents, stride, loops from inside, cuts of output (2), weight, input; energy pJ, cycles computing, cycles
    ((64, 3, 112, 112, 7, 7), 2, "FX7 FY7 OY112 OX112 K2", (2, 5, 5, 5), (128899782.592, 1229312, 1248163)),
    ((64, 64, 56, 56, 3, 3), 1, "C2 FY3 FX3 OY56 OX56 K2", (3, 6, 6, 6), (66996199.936, 112896, 138048)),
    ((128, 64, 28, 28, 3, 3), 2, "C2 FY3 FX3 OY28 OX28 K4", (3, 6, 6, 6), (47270885.888, 56448, 81600)),
    ((128, 64, 28, 28, 1, 1), 2, "C2 OY28 OX28 K4", (1, 4, 4, 4), (16432105.6, 6272, 18879)),
    ((128, 128, 28, 28, 3, 3), 1, "C4 FY3 FX3 OY28 OX28 K4", (3, 6, 5, 6), (57967469.312, 112896, 125504)),
    ((256, 256, 14, 14, 3, 3), 1, "C8 FY3 OY14 OX14 K8 FX3", (2, 6, 4, 6), (88387503.36, 117598, 123934)),
]
"""Source: zigzag-dse 3.9.1, resnet18.onnx, tpu_like.yaml, loma; the mappings that it found and what it said of them."""


def nest(extents: tuple[int, ...], stride: int, loops: str, cuts: tuple[int, ...]) -> Nests:
    named = dict(zip(DIMS, extents, strict=True))
    words = [(w.rstrip("0123456789"), int(w.lstrip("CFKOXY"))) for w in loops.split()]
    first, second, weight, inputs = (np.array([cut]) for cut in cuts)
    layer = Layer(
        extents=FrozenMap(named), stride=stride, in_hw=(named["OY"] * stride, named["OX"] * stride)
    )  # fmt: skip
    return Nests(
        layer, PortedArray.of(load.device("zigzag-tpu-like")), np.array([[DIMS.index(d) for d, _ in words]]),
        np.array([[f for _, f in words]]), {"output": (first, second), "weight": (weight,), "input": (inputs,)},
    )  # fmt: skip


@pytest.mark.parametrize(("extents", "stride", "loops", "cuts", "said"), NESTS)
def test_a_nest_costs_what_zigzag_says(
    extents: tuple[int, ...], stride: int, loops: str, cuts: tuple[int, ...], said: tuple[float, int, int]
) -> None:
    cost = evaluate(nest(extents, stride, loops, cuts))
    assert cost.fits[0]
    assert cost.joule[0] / PICO == pytest.approx(said[0], rel=1e-9)
    assert (cost.computing_cycles[0], cost.cycles[0]) == said[1:]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_open_windows_are_counted_cycle_by_cycle(steps: list[int], data: st.DataObject) -> None:
    """Loops' periods divide one another; a window is at most its period."""
    periods = np.cumprod(steps)
    spans = [data.draw(st.integers(0, int(period))) for period in periods]
    total = int(periods[-1]) * data.draw(st.integers(1, 3))
    cycles = np.arange(total)
    is_open = np.any([cycles % period < span for period, span in zip(periods, spans, strict=True)], axis=0)
    found = covered(np.array(periods, float)[:, None], np.array(spans, float)[:, None], np.array([float(total)]))
    assert found[0] == is_open.sum()


@pytest.mark.skipif(not TABLES, reason="set AISYS_TABLES to the folder that holds oracle/ to compare")
def test_resnet18_is_mapped_at_least_as_well_as_zigzag_maps_it() -> None:
    table = read_table(Path(str(TABLES)) / "oracle" / "zigzag_resnet18_tpu_like.csv")
    found = predict(table)
    rows = [row for row, layer in enumerate(table.texts("layer")) if layer == "TOTAL"]
    for row in rows:
        assert found.predicted[row] <= found.measured[row]
    assert found.predicted[rows[-1]] <= 7.209e15


def test_dims_that_are_no_extents_are_refused(tmp_path: Path) -> None:
    head = "# table: zigzag\n# kind: simulated\n# source: a test\n# units: none\n"
    dims = json.dumps({"K": 0, "C": 1}).replace('"', '""')
    path = tmp_path / "table.csv"
    path.write_text(head + f'opt,layer,energy_pJ,latency2,dims\nEDP,x,1,1,"{dims}"\n', encoding="utf-8")
    assert "below 1" in predict(read_table(path)).skipped[0][1]
