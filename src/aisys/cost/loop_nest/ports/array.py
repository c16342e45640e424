"""A weight-stationary array seen by its memory ports: who shares a memory, who shares a port, how wide it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod

from aisys.errors import BadInput, Unsupported
from aisys.frozen import FrozenMap
from aisys.machine import Device, SpatialArray

ROLES = ("output", "weight", "input")
"""In the order in which operands may claim what is free of a memory for a second buffer."""

DOWN, FILL, UPDATE, DRAIN = "down", "fill", "update", "drain"
"""Read to the inside, written from the outside, written from the inside, read to the outside."""

Move = tuple[str, int, str]
"""A role, the level of its memory (0 is innermost), and a direction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """One memory. joule: of one access of `max_bits`; narrower accesses come in steps of `min_bits`."""

    name: str
    capacity_bits: float
    read_joule: float
    write_joule: float
    min_bits: int
    max_bits: int


@dataclass(frozen=True, slots=True)
class Port:
    """What passes through one port, and its width in bits per cycle."""

    moves: tuple[Move, ...]
    width_bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PortedArray:
    """`stores`: role to its memories, innermost first. inside: role to how many of them stand at every unit.

    Output channels run over `cols`, input channels over `rows`.
    """

    name: str
    rows: int
    cols: int
    mac_joule: float
    stores: FrozenMap[str, tuple[Store, ...]]
    inside: FrozenMap[str, int]
    ports: tuple[Port, ...]

    @classmethod
    def of(cls, device: Device) -> "PortedArray":
        """The array of a device with a SpatialArray that spreads rows x cols below one of its levels.

        Its constants NAME.num_ports (1, 2 or 4; as `ports` says without) and NAME.min_bits (the width without) say
        more of memory NAME. Raises Unsupported for another architecture or fan-out.
        """
        array = device.architecture
        if not isinstance(array, SpatialArray):
            raise Unsupported(f"{device.name} is a {type(array).__name__}; port-aware latency needs a SpatialArray")
        names = list(array.levels)
        spread = [name for name in names if array.levels[name].fanout]
        if len(spread) != 1 or set(array.levels[spread[0]].fanout) != {"rows", "cols"}:
            raise Unsupported(f"{device.name}: port-aware latency needs one fan-out of rows and cols")
        fanout = array.levels[spread[0]].fanout
        stores = {name: _store(device, array, name) for name in names}
        kept = {role: [name for name in reversed(names) if role in array.levels[name].keeps.split()] for role in ROLES}
        for role, own in kept.items():
            if not own:
                raise BadInput(f"{device.name}: no level keeps {role}s")
        inner = set(names[names.index(spread[0]) + 1 :])
        return cls(
            name=device.name, rows=int(fanout["rows"]), cols=int(fanout["cols"]),
            mac_joule=float(array.energy_joule_per_mac),
            stores=FrozenMap({role: tuple(stores[name] for name in own) for role, own in kept.items()}),
            inside=FrozenMap({role: sum(name in inner for name in own) for role, own in kept.items()}),
            ports=tuple(port for name in names for port in _ports(array, stores[name], kept)),
        )  # fmt: skip


def _store(device: Device, array: SpatialArray, name: str) -> Store:
    memory, level, clock = device.memories[name], array.levels[name], float(array.clock_hz)
    width = round(memory.bandwidth_bytes_per_s * 8 / clock)
    least = array.constants.get(f"{name}.min_bits")
    return Store(
        name=name, capacity_bits=8 * float(memory.capacity_bytes), max_bits=width,
        min_bits=int(least) if least is not None else width,
        read_joule=float(memory.energy_joule_per_byte) * width / 8,
        write_joule=float(level.energy_joule_per_byte_written) * width / 8,
    )  # fmt: skip


def _ports(array: SpatialArray, store: Store, kept: Mapping[str, list[str]]) -> list[Port]:
    moves = [
        (role, own.index(store.name), direction)
        for role, own in kept.items()
        if store.name in own
        for direction in (_OUTPUT if role == "output" else _INPUT)
        if direction not in (FILL, DRAIN) or own.index(store.name) + 1 < len(own)
    ]
    stated = array.constants.get(f"{store.name}.num_ports")
    num = int(stated) if stated is not None else {"shared": 1}.get(array.levels[store.name].ports, 2)
    reads = [move for move in moves if move[2] in (DOWN, DRAIN)]
    writes = [move for move in moves if move[2] in (FILL, UPDATE)]
    groups = {1: [moves], 2: [reads, writes]}.get(num, [[move] for move in moves])
    return [Port(tuple(group), store.max_bits) for group in groups if group]


_INPUT, _OUTPUT = (DOWN, FILL), (DOWN, UPDATE, DRAIN, FILL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A convolution: K output and C input channels, OX x OY outputs, FX x FY kernel, `stride`; bits per element.

    in_hw: extents of the input that exist, which windows over the padding do not exceed.
    """

    extents: FrozenMap[str, int]
    stride: int
    in_hw: tuple[int, int]
    bits: int = 8
    partial_bits: int = 16

    @property
    def num_macs(self) -> int:
        """Multiply-accumulates."""
        return prod(self.extents.values())

    def spread(self, dim: str, units: int) -> tuple[int, float]:
        """Steps in time that a dim over `units` takes, and how many units are busy on average."""
        extent = self.extents[dim]
        steps = ceil(extent / units)
        return steps, extent / steps
