"""Machines: devices with their memories, the links between them, and the catalogue of known ones."""

from aisys.machine.architecture import (
    Architecture,
    Cpu,
    Fpga,
    GeneratedArray,
    Gpu,
    PimBank,
    SpatialArray,
    StorageLevel,
    SystolicArray,
)  # fmt: skip
from aisys.machine.load import device, link, list_devices, list_machines, machine
from aisys.machine.types import Device, Link, Machine, Memory

__all__ = [
    "Architecture", "Cpu", "Device", "Fpga", "GeneratedArray", "Gpu", "Link", "Machine", "Memory", "PimBank",
    "SpatialArray", "StorageLevel", "SystolicArray", "device", "link", "list_devices", "list_machines", "machine",
]  # fmt: skip
