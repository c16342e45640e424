"""Image networks on an FPGA that gives each layer a stage of hardware, through which images stream."""

from functools import lru_cache
from math import nan

from aisys.cost.fpga import keys
from aisys.cost.fpga.dataflow import Dataflow, dataflow, fpga_of
from aisys.cost.fpga.layers import layers_of
from aisys.cost.fpga.resources import available
from aisys.frozen import FrozenMap
from aisys.ir import Graph
from aisys.machine import Device, Machine
from aisys.plan import Plan
from aisys.report import OpLine
from aisys.search.passing import Passing

ASSUMPTIONS = (
    "weights stay on the chip, and images enter and results leave as fast as the stages take them",
    "branches are taken as a chain: what holds the shorter one meanwhile is not counted",
)


@lru_cache(maxsize=16)
def _stages(graph: Graph, device: Device) -> Dataflow:
    return dataflow(layers_of(graph), device)


def passing(graph: Graph, machine: Machine, plan: Plan) -> Passing:
    """The batch through the stages of the shortest interval that fits. Raises DoesNotFit, Unsupported.

    Energy: every multiply-accumulate, images and results across the main memory, and idle power.
    """
    device = machine.device
    made, fpga, images = _stages(graph, device), fpga_of(device), plan.num_microbatches
    clock, main, there = float(fpga.clock_hz), device.main_memory, available(fpga)
    latency, interval = made.latency_cycles / clock, made.interval_cycles / clock
    first, last = graph.segments[0].block, graph.segments[-1].block
    ends = [first.tensors[name] for name in first.inputs] + [last.tensors[name] for name in last.outputs]
    moved = sum(tensor.num_bytes for tensor in ends) / plan.data
    streaming = latency + (images - 1) * interval
    time_s = max(streaming, moved / float(main.bandwidth_bytes_per_s))
    macs = images * sum(stage.layer.macs for stage in made.stages)
    joule = macs * float(fpga.energy_joule_per_mac) + moved * float(main.energy_joule_per_byte)
    return Passing(
        time_s=time_s, latency_s=latency, low_s=nan, high_s=nan,
        energy_joule=plan.data * (joule + time_s * float(device.idle_watt)),
        memory_bytes=FrozenMap(activations=moved),
        breakdown_s=FrozenMap(conv=images * interval, bubble=time_s - images * interval), keys=keys(device),
        metrics=FrozenMap(
            interval_s=interval, lut_share=made.resources.luts / there.luts,
            dsp_share=made.resources.dsps / there.dsps,
            block_memory_share=made.resources.block_memories / there.block_memories,
        ),
        assumptions=ASSUMPTIONS,
    )  # fmt: skip


def op_lines(graph: Graph, machine: Machine) -> tuple[OpLine, ...]:
    """One line per stage: what it takes for one image."""
    made = _stages(graph, machine.device)
    return tuple(
        OpLine(
            block="stages", name=stage.layer.name, phase="forward", kind="conv", repeat=1,
            time_s=stage.cycles / made.clock_hz, flop=2.0 * stage.layer.macs, traffic_bytes=0.0, bound="compute",
        )
        for stage in made.stages
    )  # fmt: skip
