"""Machines: devices with their memories, the links between them, and the catalogue of known ones."""

from aisys.machine.architecture import Architecture, Cpu, Gpu, PimBank, SpatialArray, StorageLevel, SystolicArray
from aisys.machine.load import device, link, list_devices, list_machines, machine
from aisys.machine.types import Device, Link, Machine, Memory

__all__ = [
    "Architecture", "Cpu", "Device", "Gpu", "Link", "Machine", "Memory", "PimBank", "SpatialArray",
    "StorageLevel", "SystolicArray",    "device", "link", "list_devices", "list_machines", "machine",
]  # fmt: skip
