"""FPGAs: multipliers fill DSP blocks before LUTs, folds give exact cycles, and what does not fit is said in numbers."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aisys
from aisys.cost import cost
from aisys.cost.fpga import check_engine, engine, products_per_cycle
from aisys.cost.fpga.dataflow import Layer, convolution, dataflow, fold, latency_cycles, with_bits
from aisys.cost.fpga.resources import BLOCK_SHAPES, available, block_memories, multipliers
from aisys.errors import BadInput, DoesNotFit, Unsupported
from aisys.ir import OpTable
from aisys.machine import Device, Fpga
from aisys.units import Sourced

ZCU104 = aisys.device("zcu104")
CHIPS = [aisys.device(name) for name in ("ecp5-85k", "zcu104", "u280", "ku15p")]
layers = st.builds(
    Layer, name=st.just("layer"), k=st.integers(1, 300), n=st.integers(1, 60), num_vectors=st.integers(1, 50)
)


def fpga(device: Device) -> Fpga:
    assert isinstance(device.architecture, Fpga)
    return device.architecture


def with_engine(device: Device, inputs: int, outputs: int) -> Device:
    shape = {"num_unrolled_inputs": inputs, "num_unrolled_outputs": outputs}
    numbers = {name: Sourced(value, source="a test", kind="assumed", key=name) for name, value in shape.items()}
    changed: Any = replace(fpga(device), **numbers)
    return replace(device, architecture=changed)


def matmul(m: int, k: int, n: int, dtype: str = "int8") -> OpTable:
    dtypes = dict.fromkeys(("a_dtype", "b_dtype", "out_dtype", "math"), dtype)
    return OpTable.of("matmul", batch=1, m=m, n=n, k=k, b_is_weight=True, **dtypes)


def test_dsp_blocks_are_packed_by_precision_and_the_rest_is_luts() -> None:
    chip = fpga(ZCU104)
    assert multipliers(chip, 100, 1728, 8).dsps == 50
    assert multipliers(chip, 101, 1728, 8).dsps == 51
    assert multipliers(chip, 100, 1728, 4).dsps == multipliers(chip, 100, 1728, 3).dsps == 25
    rest = multipliers(chip, 100, 30, 8)
    assert (rest.dsps, rest.luts) == (30, 40 * 80)
    assert products_per_cycle(chip, 4) == 4 * 1728 + 230_400 / 24
    with pytest.raises(Unsupported, match="16-bit operands have no multiplier here; quantize to int8"):
        multipliers(chip, 1, 1, 16)


@given(words=st.integers(0, 40_000), bits=st.integers(1, 200))
def test_block_memories_hold_every_bit_and_no_fewer_would_in_any_one_shape(words: int, bits: int) -> None:
    found = block_memories(words, bits)
    assert found * 18 * 1024 >= words * bits
    for depth, width in BLOCK_SHAPES:
        assert found <= -(-words // depth) * -(-bits // width)


@pytest.mark.parametrize("device", CHIPS, ids=lambda device: device.name)
def test_an_engine_takes_a_cycle_per_group_of_operands(device: Device) -> None:
    chip = fpga(device)
    inputs, outputs = int(chip.num_unrolled_inputs), int(chip.num_unrolled_outputs)
    fill = (inputs - 1).bit_length() + 8
    for m, k, n in ((500, 2 * inputs, outputs), (500, 2 * inputs - 1, outputs), (250, inputs, 2 * outputs + 1)):
        folds = -(-k // inputs) * -(-n // outputs)
        found = cost(matmul(m, k, n), device)
        assert found.counts["cycles"][0] == m * folds + fill
        assert found.counts["mapping_efficiency"][0] == pytest.approx(k * n / (folds * inputs * outputs))


def test_operands_that_do_not_fit_move_again_and_the_cheaper_one_does() -> None:
    half = 624 * 2304 // 2
    small, big = 1000, 2 * half
    moved = cost(matmul(big // 1000, 1000, 1), ZCU104).traffic_bytes["dram"][0]
    assert moved == big // 1000 * 1000 + 1000 + big // 1000
    side = 3000
    parts = -(-side * side // half)
    assert cost(matmul(side, side, side), ZCU104).traffic_bytes["dram"][0] == (1 + parts) * side**2 + side**2
    assert small < half


def test_an_engine_beyond_the_chip_is_refused_with_the_largest_that_fits() -> None:
    with pytest.raises(
        DoesNotFit, match=r"64 x 128 int8 multipliers needs .*LUTs .* on zcu104; (\d+) x \1 is"
    ) as raised:
        cost(matmul(1, 1, 1), with_engine(ZCU104, 64, 128))
    side = int(str(raised.value).split("; ")[1].split()[0])
    check_engine(with_engine(ZCU104, side, side))
    assert not engine(fpga(ZCU104), side + 1, side + 1).fits(available(fpga(ZCU104)))


def test_operands_that_the_engine_does_not_multiply_are_refused() -> None:
    for dtype in ("bf16", "int32"):
        with pytest.raises(Unsupported, match=f"multiplies int8 and a_dtype is {dtype}; quantize the op to int8"):
            cost(matmul(4, 4, 4, dtype), ZCU104)
    assert (
        cost(matmul(64, 64, 64, "int4"), ZCU104).counts["cycles"] == cost(matmul(64, 64, 64), ZCU104).counts["cycles"]
    )


@given(layer=layers, inputs=st.integers(1, 300), outputs=st.integers(1, 60))
def test_a_stage_takes_the_cycles_of_its_folds(layer: Layer, inputs: int, outputs: int) -> None:
    inputs, outputs = min(inputs, layer.k), min(outputs, layer.n)
    stage = fold(layer, ZCU104, inputs, outputs)
    assert stage.cycles == layer.num_vectors * -(-layer.k // inputs) * -(-layer.n // outputs)
    assert stage.cycles * stage.num_products >= layer.macs
    assert fold(layer, ZCU104, layer.k, layer.n).cycles == layer.num_vectors
    assert stage.resources.dsps == min(1728, -(-stage.num_products // 2))


@given(network=st.lists(layers, min_size=1, max_size=4), rest=st.integers(1, 4))
def test_the_shortest_interval_fits_and_longer_ones_take_no_more_multipliers(network: list[Layer], rest: int) -> None:
    for device in CHIPS[:2]:
        found = dataflow(network, device)
        assert found.resources.fits(available(fpga(device)))
        assert found.interval_cycles == max(stage.cycles for stage in found.stages)
        assert found.interval_cycles <= found.latency_cycles <= sum(stage.cycles for stage in found.stages)
        slower = dataflow(network, device, interval_cycles=found.interval_cycles * rest)
        assert slower.interval_cycles <= found.interval_cycles * rest
        for fast, slow in zip(found.stages, slower.stages, strict=True):
            assert slow.num_products <= fast.num_products


def test_stages_overlap_rows_of_images_and_dense_layers_wait_for_all() -> None:
    rows = Layer(name="rows", k=9, n=4, num_vectors=100, num_rows=10, num_kernel_rows=3, num_in_rows=12)
    dense = Layer(name="dense", k=400, n=10)
    assert latency_cycles([(dense, 50), (dense, 70)]) == 120
    assert latency_cycles([(rows, 1200), (rows, 1200)]) == 1200 * 3 // 12 + 1200
    assert latency_cycles([(rows, 1200), (rows, 100)]) == 1200 + 10
    assert latency_cycles([(rows, 1200), (dense, 70)]) == 1270


def cnn() -> list[Layer]:
    return [
        convolution("first", side=32, channels=(3, 64), kernel=3, padding=1),
        convolution("second", side=32, channels=(64, 128), kernel=3, stride=2),
        Layer(name="dense", k=4096, n=256),
    ]  # fmt: skip


def test_an_interval_that_is_too_short_is_refused_with_the_fastest_that_fits() -> None:
    fastest = dataflow(cnn(), ZCU104).interval_cycles
    with pytest.raises(
        DoesNotFit, match=rf"every 1,024 cycles needs .* on zcu104; every {fastest:,} cycles is"
    ) as raised:
        dataflow(cnn(), ZCU104, interval_cycles=1024)
    assert "LUTs (161,280 there)" in str(raised.value)
    with pytest.raises(DoesNotFit, match="every 1,000 cycles is less than the 1,024 vectors of first on zcu104"):
        dataflow(cnn(), ZCU104, interval_cycles=1000)
    assert dataflow(cnn(), ZCU104, interval_cycles=fastest).interval_cycles == fastest


def test_weights_beyond_the_block_memory_are_refused_with_a_chip_that_holds_them() -> None:
    with pytest.raises(DoesNotFit, match=r"block memories \(208 there\) on ecp5-85k .*; zcu104 has the room"):
        dataflow(cnn(), CHIPS[0])
    huge = [Layer(name="dense", k=2**15, n=2**15)]
    with pytest.raises(DoesNotFit, match="cut the network or take narrower weights"):
        dataflow(huge, ZCU104)


def test_narrower_weights_are_never_slower() -> None:
    wide, narrow = (dataflow(with_bits(cnn(), bits, bits), ZCU104) for bits in (8, 4))
    assert narrow.images_per_s >= 2 * wide.images_per_s


def test_what_is_no_layer_or_no_fpga_is_refused() -> None:
    with pytest.raises(BadInput, match="k=0 of layer x must be at least 1"):
        Layer(name="x", k=0, n=1)
    with pytest.raises(BadInput, match="9 x 1 multipliers for layer x; give 1 to 8 x 1 to 4"):
        fold(Layer(name="x", k=8, n=4), ZCU104, 9, 1)
    with pytest.raises(BadInput, match="without layers"):
        dataflow([], ZCU104)
    with pytest.raises(Unsupported, match=r"h100-sxm is no FPGA; give one of ecp5-85k, ku15p, u280, zcu104"):
        dataflow(cnn(), aisys.device("h100-sxm"))
