"""The files of SCALE-Sim are read as it reads them, or refused in one sentence."""

from pathlib import Path

import pytest

import aisys
from aisys.errors import BadInput, UnknownName
from aisys.machine import SystolicArray

HEAD = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
CONFIG = """[general]
run_name = made_up
[architecture_presets]
ArrayHeight: 16
ArrayWidth: 8
IfmapSramSzkB: 64
FilterSramSzkB: 32
OfmapSramSzkB: 16
Dataflow: os
Bandwidth: 10
[run_presets]
InterfaceBandwidth: CALC
"""


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_convolutions_are_read_without_padding_and_windows_may_hang_over_the_edge(tmp_path: Path) -> None:
    rows = "Conv1, 224, 224, 7, 7, 3, 64, 2,\nConv2DP, 56, 56, 3, 3, 8, 1, 1,\n"
    graph = aisys.read(written(tmp_path, "net.csv", HEAD + rows))
    (block,) = graph.blocks
    first, second = block.ops
    assert (graph.name, first.space["out_height"], first.space["in_channel"]) == ("net", 110, 3)
    assert (second.space["group"], second.space["out_channel"], second.space["out_width"]) == (8, 1, 54)
    outside = aisys.read(written(tmp_path, "outside.csv", HEAD + "Conv3_s, 56, 56, 1, 1, 64, 128, 2,\n"))
    assert outside.blocks[0].ops[0].space["out_height"] == 29  # the last window stands beyond the edge
    assert graph.num_parameters == 7 * 7 * 3 * 64 + 8 * 9
    priced = aisys.cost.graph_cost(graph, aisys.device("systolic-32x32"))
    assert priced.kernels[0].counts["cycles"] == 5 * 2 * (110 * 110 + 64 + 32 - 2)


def test_products_are_read_by_their_column_names(tmp_path: Path) -> None:
    graph = aisys.read(written(tmp_path, "net.csv", "Layer,M,N,K,Sparsity,\none,5,7,9,1:1,\n"), batch=2)
    assert dict(graph.blocks[0].ops[0].space) == {"batch": 2, "row": 5, "neuron": 7, "feature": 9}
    assert graph.num_parameters == 63


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD, "no layers"),
        (HEAD.replace("Channels, ", "") + "a,1,1,1,1,1,1,\n", "no column 'Channels'; a topology has a name and IFMAP"),
        (HEAD + "a, 8, 8, 3, 3, 0, 4, 1,\n", "line 2: Channels is '0'; give a whole number from 1"),
        (HEAD + "a, 8, 8, 3, 3, 3,\n", "line 2: Num Filter is ''"),
        (HEAD + "a, 8, x, 3, 3, 3, 4, 1,\n", "line 2: IFMAP Width is 'x'"),
        (HEAD + "a, 2, 8, 3, 3, 3, 4, 1,\n", "a filter of 3 x 3 is larger than its 2 x 8 input"),
        ("Layer,M,N,K,Sparsity\na,4,4,8,2:4\n", "line 2: sparsity '2:4'; only dense"),
    ],
)
def test_a_table_that_is_not_a_topology_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        aisys.read(written(tmp_path, "net.csv", text))


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        aisys.read(tmp_path / "none.csv")


def test_a_configuration_is_a_device_and_a_machine(tmp_path: Path) -> None:
    path = str(written(tmp_path, "small.cfg", CONFIG))
    device = aisys.device(path)
    array = device.architecture
    assert isinstance(array, SystolicArray)
    assert (array.rows, array.cols, array.dataflow, array.timing, device.name) == (16, 8, "os", "exact", "small")
    buffer, main = device.memories.values()
    assert (buffer.capacity_bytes, main.bandwidth_bytes_per_s) == (112 * 1024, 25.6e9)
    assert aisys.machine(path).device == device
    asked = aisys.device(str(written(tmp_path, "user.cfg", CONFIG.replace("CALC", "USER"))))
    assert asked.main_memory.bandwidth_bytes_per_s == 10e9


@pytest.mark.parametrize(
    ("old", "new", "error", "said"),
    [
        ("ArrayWidth: 8\n", "", BadInput, r"no ArrayWidth in section \[architecture_presets\]"),
        ("ArrayHeight: 16", "ArrayHeight: 0", BadInput, "ArrayHeight is '0'; give a whole number"),
        ("Dataflow: os", "Dataflow: rs", UnknownName, "unknown Dataflow in .*'rs'; nearest known: "),
        ("[general]", "", BadInput, "not a configuration of SCALE-Sim"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(
    tmp_path: Path, old: str, new: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        aisys.device(str(written(tmp_path, "small.cfg", CONFIG.replace(old, new))))
