"""Do the convolutional networks have the operations that others print?

Kind: analytic. Source: torchvision documentation, table of classification weights, GFLOPS (multiply-accumulates of
convolutions and linear layers at 224 x 224); parameters stand in test_model_configurations.py. MobileNet v1: Howard et
al. 2017, table 4 (569 million).
"""

import pytest

import aisys
from aisys.errors import BadInput, UnknownName
from aisys.workload.config_file import Fields
from aisys.workload.image import image_graph

GIGA_MACS = {
    "resnet18": 1.81, "resnet50": 4.09, "alexnet": 0.71, "vgg16": 15.47, "mobilenet-v2": 0.30, "mobilenet-v1": 0.569,
}  # fmt: skip


@pytest.mark.parametrize("name", GIGA_MACS)
def test_multiply_accumulates_are_the_printed_ones(name: str) -> None:
    graph = aisys.read(name)
    products = [op.flop * s.repeat for s in graph.segments for op in s.block.ops if op.kind in ("conv", "matmul")]
    digits = len(str(GIGA_MACS[name]).split(".")[1])
    assert sum(products) / 2e9 == pytest.approx(GIGA_MACS[name], abs=1.01 * 10**-digits)


def test_images_scale_with_the_batch_and_take_no_tokens() -> None:
    assert aisys.read("resnet18", batch=8).flop == 8 * aisys.read("resnet18").flop
    with pytest.raises(BadInput, match="resnet18 takes images"):
        aisys.read("resnet18", tokens=8)


def test_resnet_stages_halve_the_image_and_repeat() -> None:
    graph = aisys.read("resnet50")
    sides = [s.block.tensors[s.block.outputs[0]].axes.get("height") for s in graph.segments]
    assert sides == [112, 56, 56, 56, 28, 28, 14, 14, 7, 7, 1, None]
    assert [s.repeat for s in graph.segments if "bottleneck" in s.block.name] == [1, 2, 1, 3, 1, 5, 1, 2]


@pytest.mark.parametrize(
    ("stages", "error", "said"),
    [
        ([], BadInput, "field 'stages'"),
        (["conv"], BadInput, "every stage must be a table"),
        ([{"kind": "convolution"}], UnknownName, "unknown kind in here: stage 1 'convolution'; nearest known: conv"),
        ([{"kind": "conv"}], BadInput, "here: stage 1 lacks field 'channels'"),
        ([{"kind": "conv", "channels": 0}], BadInput, "it must be between 1 and"),
        ([{"kind": "conv", "channels": 4, "kernel": 9}], BadInput, "larger than the 8 x 8 image"),
        ([{"kind": "conv", "channels": 4, "kernel": 1, "groups": 3}], BadInput, "not a multiple of groups 3"),
        ([{"kind": "bottleneck", "channels": 6}], BadInput, "not a multiple of 4"),
    ],
)
def test_stages_that_cannot_be_are_refused(stages: object, error: type[Exception], said: str) -> None:
    fields = Fields({"model_type": "cnn", "image_size": 8, "num_channels": 3, "stages": stages}, "here", "made up")
    with pytest.raises(error, match=said):
        image_graph(fields, 1)
