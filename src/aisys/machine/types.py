"""Machines: devices, their memories, and the links between them."""

from dataclasses import dataclass, field
from math import prod

from aisys.frozen import FrozenMap
from aisys.machine.architecture import Architecture
from aisys.units import Sourced


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """One memory of a device. Bandwidth is the peak of its data sheet; energy counts each byte moved once."""

    name: str
    capacity_bytes: Sourced
    bandwidth_bytes_per_s: Sourced
    latency_s: Sourced
    energy_joule_per_byte: Sourced


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One accelerator or processor. `memories`: fastest and smallest first; the last one holds the tensors."""

    name: str
    architecture: Architecture
    memories: FrozenMap[str, Memory]
    idle_watt: Sourced
    max_watt: Sourced
    price_usd_per_hour: Sourced

    @property
    def main_memory(self) -> Memory:
        """The memory that holds weights, activations and state."""
        return list(self.memories.values())[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How the devices of one mesh tier reach each other. `bandwidth_bytes_per_s`: one device, one direction.

    `technology`: nvswitch, nvlink, pcie, infiniband, ethernet, ici, ... `constants`: fitted protocol constants.
    """

    name: str
    technology: str
    bandwidth_bytes_per_s: Sourced
    latency_s: Sourced
    constants: FrozenMap[str, Sourced] = field(default_factory=FrozenMap)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """`mesh`: tier name to the number of members, innermost first (`{"node": 8, "network": 16}` is 128 devices);
    `links`: tier name to the link between those members. Every position of the mesh holds one `device`; a single
    device has an empty mesh.

    `host`: the processor that drives the devices of one node, or None; `host_link`: from one device to it.
    """

    name: str
    device: Device
    mesh: FrozenMap[str, int]
    links: FrozenMap[str, Link]
    host: Device | None = None
    host_link: Link | None = None

    @property
    def num_devices(self) -> int:
        """Devices of the whole machine."""
        return prod(self.mesh.values())
