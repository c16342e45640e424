"""Catalogue devices against what their makers print: peaks are units times width times clock."""

import pytest

from aisys.machine import Device, Gpu, SystolicArray, list_devices, load

FLOP_PER_CLOCK_PER_SM = {
    "sm60": {"fp64": 64, "fp32": 128, "fp16": 256},
    "sm61": {"fp32": 256, "int8": 1024},
    "sm70": {"fp64": 64, "fp32": 128, "fp16": 1024},
    "sm75": {"fp32": 128, "fp16": 1024, "int8": 2048, "int4": 4096},
    "sm80": {"fp64": 128, "fp32": 128, "tf32": 1024, "fp16": 2048, "bf16": 2048, "int8": 4096, "int4": 8192},
    "sm86": {"fp64": 4, "fp32": 256, "tf32": 512, "fp16": 1024, "bf16": 1024, "int8": 2048, "int4": 4096},
    "sm89": {"fp64": 4, "fp32": 256, "tf32": 512, "fp16": 1024, "bf16": 1024, "fp8": 2048, "int8": 2048, "int4": 4096},
    "sm90": {"fp64": 256, "fp32": 256, "tf32": 2048, "fp16": 4096, "bf16": 4096, "fp8": 8192, "int8": 8192},
    "sm100": {"fp64": 128, "fp32": 256, "tf32": 4096, "fp16": 8192, "bf16": 8192, "fp8": 16384, "int8": 16384,
              "nvfp4": 32768, "mxfp4": 32768},
    "sm120": {"fp64": 4, "fp32": 256, "tf32": 512, "fp16": 1024, "bf16": 1024, "fp8": 2048, "int8": 2048,
              "nvfp4": 4096, "mxfp4": 4096},
    "gfx90a": {"fp64": 256, "fp32": 256, "fp16": 1024, "bf16": 1024, "int8": 1024, "int4": 1024},
    "gfx942": {"fp64": 256, "fp32": 256, "tf32": 1024, "fp16": 2048, "bf16": 2048, "fp8": 4096, "int8": 4096},
}  # fmt: skip
"""Dense flop (2 per multiply-add) of one SM or compute unit per clock, from the makers' architecture white papers."""

OTHER_WIDTHS = {
    "rtx-4090": {"tf32": 256, "fp16": 512, "bf16": 512, "fp8": 1024},  # half rate with fp32 accumulation on GeForce
    "mi100": {"fp64": 64, "bf16": 512},  # CDNA 1: fp64 vector only, bf16 at half the rate of fp16
}
VECTOR = ("fp64", "fp32")
"""Formats whose peak a Hopper or Blackwell data sheet gives at the higher clock of the non-tensor pipes."""

GPUS = [name for name in list_devices() if isinstance(load.device(name).architecture, Gpu)]


@pytest.mark.parametrize("name", GPUS)
def test_a_gpu_peak_is_its_sm_count_times_its_width_times_its_clock(name: str) -> None:
    gpu = load.device(name).architecture
    assert isinstance(gpu, Gpu)
    widths = FLOP_PER_CLOCK_PER_SM[gpu.generation] | OTHER_WIDTHS.get(name, {})
    for math, peak in gpu.flop_per_s.items():
        clock = gpu.constants.get("vector_clock_hz", gpu.clock_hz) if math in VECTOR else gpu.clock_hz
        # 1 %: data sheets print three digits
        assert peak == pytest.approx(gpu.num_sm * widths[math] * clock, rel=0.01), f"{name} {math}"


def test_the_peaks_and_memories_are_the_published_ones() -> None:
    published = {
        "a100-80-sxm": (312e12, 80e9, 2.039e12, 400), "h100-sxm": (989.4e12, 80e9, 3.35e12, 700),
        "h200": (989.4e12, 141e9, 4.8e12, 700), "b200": (2250e12, 180e9, 8e12, 1000),
        "gb200": (2500e12, 186e9, 8e12, 1200), "l40s": (366.5e12, 48e9, 864e9, 350),
        "mi300x": (1307.4e12, 192e9, 5.3e12, 750), "a40": (149.7e12, 48e9, 696e9, 300),
    }  # fmt: skip
    for name, (flop_per_s, capacity, bandwidth, watt) in published.items():
        device = load.device(name)
        assert isinstance(device.architecture, Gpu)
        assert device.architecture.flop_per_s["bf16"] == flop_per_s
        assert device.main_memory.capacity_bytes == capacity
        assert device.main_memory.bandwidth_bytes_per_s == bandwidth
        assert device.max_watt == watt


@pytest.mark.parametrize(("name", "published"), [("tpu-v4", 275e12), ("tpu-v5e", 197e12), ("tpu-v6e", 918e12)])
def test_a_tpu_peak_is_its_units_times_its_clock(name: str, published: float) -> None:
    array = load.device(name).architecture
    assert isinstance(array, SystolicArray)
    assert 2 * array.rows * array.cols * array.num_arrays * array.clock_hz == pytest.approx(published, rel=0.01)


def test_a_xeon_peak_is_its_cores_times_its_width_times_its_clock() -> None:
    for name in ("xeon-2s", "xeon-8570-2s"):
        cpu = load.device(name).architecture
        for math, width in {"fp64": 32, "fp32": 64, "bf16": 1024, "int8": 2048}.items():
            assert cpu.flop_per_s[math] == pytest.approx(cpu.num_cores * width * cpu.clock_hz, rel=0.01)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", list_devices())
def test_memories_are_ordered_and_power_is_plausible(name: str) -> None:
    device: Device = load.device(name)
    capacities = [memory.capacity_bytes for memory in device.memories.values()]
    assert capacities == sorted(capacities)
    assert device.idle_watt < device.max_watt


def test_network_bandwidth_per_device_is_adapters_times_their_speed_over_devices() -> None:
    for name, num_adapters, bits_per_s in [
        ("dgx-h100*2", 8, 400e9), ("dgx-a100*2", 8, 200e9), ("dgx-a100-4nic*2", 4, 200e9), ("h200-node*2", 8, 400e9),
        ("h100-96gb-node*2", 8, 400e9), ("dgx-v100*2", 4, 100e9),
    ]:  # fmt: skip
        machine = load.machine(name)
        link = machine.links["network"]
        assert link.bandwidth_bytes_per_s == num_adapters * bits_per_s / 8 / machine.mesh["node"]
        nics, speed = link.constants["num_nics_per_device"], link.constants["nic_bandwidth_bytes_per_s"]
        assert link.bandwidth_bytes_per_s == nics * speed
