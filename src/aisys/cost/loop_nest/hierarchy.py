"""The machine as a loop nest sees it: levels of storage, how many of each, what an access costs."""

from dataclasses import dataclass, field, replace
from math import inf, prod

from aisys.cost.loop_nest.einsum import ROLES, Einsum, Operand
from aisys.cost.loop_nest.zeros import NOTHING, Saved, Zeros, read_zeros, saved
from aisys.errors import BadInput, Unsupported, unknown_name
from aisys.frozen import FrozenMap
from aisys.ir.sparse_format import Format, read_format
from aisys.machine import Device, Memory, SpatialArray, StorageLevel

DATAFLOWS = ("any", "rs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One level; all numbers are of one instance.

    keeps: roles that it may store; empty for a level that only fans out. capacity_bits: inf without a limit.
    fanout: spatial dims below it, each to its extent. reuse: fan-out dim to the role that is shared along it.
    can_multicast: one read feeds every child that needs the same tile; can_reduce: partial sums of children are added
    on their way up. word_bits: bits that
    one element takes here; 0: as many as the operand has. block_words: elements of
    one access, of which an instance makes a whole number in a run. joule per bit and bits per cycle are of
    the port; leak is of one cycle. formats: role to the format in which its tiles are stored and moved; whole
    where left out.
    """

    name: str
    keeps: frozenset[str] = frozenset(ROLES)
    capacity_bits: float = inf
    fanout: FrozenMap[str, int] = field(default_factory=FrozenMap)
    reuse: FrozenMap[str, str] = field(default_factory=FrozenMap)
    read_bits_per_cycle: float = inf
    write_bits_per_cycle: float = inf
    has_shared_port: bool = False
    is_double_buffered: bool = True
    can_multicast: bool = True
    can_reduce: bool = True
    word_bits: int = 0
    block_words: int = 1
    read_joule_per_bit: float = 0.0
    write_joule_per_bit: float = 0.0
    update_joule_per_bit: float = 0.0
    leak_joule_per_cycle: float = 0.0
    formats: FrozenMap[str, Format] = field(default_factory=FrozenMap)

    @property
    def num_children(self) -> int:
        """Instances of the next level (or multiply-accumulate units) below each instance."""
        return prod(self.fanout.values())

    def bits(self, operand: Operand, shape: tuple[int, int] | None = None) -> float:
        """Bits that one element of `operand` takes here on average, in pieces of `shape` (rows, columns).

        Raises Unsupported without a shape for a format whose bits depend on it.
        """
        width, form = self.word_bits or operand.bits, self.formats.get(operand.role)
        if form is None:
            return width
        if shape is None and not form.is_even:
            raise Unsupported(
                f"{self.name} stores {operand.name} as {form}, whose bits depend on the tile; evaluate a mapping, "
                "or search with a bitmap"
            )
        rows, columns = shape or (1, 1)
        return form.expected_bits((rows, columns), operand.density, width) / (rows * columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """`levels`, outermost first, around the multiply-accumulate units below the last one.

    reads_on_drain: a tile of outputs that leaves a level is read there; Timeloop does not count that read.
    zeros: role of an operand to what the arithmetic does where it is zero; nothing where left out.
    """

    name: str
    levels: tuple[Level, ...]
    mac_joule: float
    clock_hz: float = 1e9
    reads_on_drain: bool = True
    zeros: FrozenMap[str, Zeros] = field(default_factory=FrozenMap)

    @classmethod
    def of(cls, device: Device) -> "Hierarchy":
        """The hierarchy of a device whose architecture is a SpatialArray.

        Raises Unsupported for another architecture; BadInput for a level without a memory, or with a word that its
        fields do not know; UnknownName for a dataflow that no mapping follows.
        """
        array = device.architecture
        if not isinstance(array, SpatialArray):
            raise Unsupported(f"{device.name} is a {type(array).__name__}; a loop nest needs a SpatialArray")
        for name in array.levels:
            if name not in device.memories:
                raise BadInput(f"{device.name}: level {name!r} is no memory; it has {', '.join(device.memories)}")
        if array.dataflow not in DATAFLOWS:
            raise unknown_name(f"dataflow of {device.name}", array.dataflow, DATAFLOWS)
        clock = float(array.clock_hz)
        levels = tuple(
            _level(device.name, name, level, device.memories[name], clock) for name, level in array.levels.items()
        )
        found = cls(name=device.name, levels=levels, mac_joule=float(array.energy_joule_per_mac), clock_hz=clock)
        for role, text in _by_role(f"zeros of {device.name}", array.zeros).items():
            found = found.looking(role, text)
        return found

    def looking(self, role: str, text: str) -> "Hierarchy":
        """The same where the arithmetic does what `text` says about zeros of that role, `gate` or `skip:4`.

        Without a number all units skip together that work on different elements at once.
        """
        different = (
            extent for level in self.levels for fan, extent in level.fanout.items() if level.reuse.get(fan) != role
        )
        return replace(self, zeros=FrozenMap({**self.zeros, role: read_zeros(text, prod(different))}))

    def storing(self, role: str, form: Format, level: str = "") -> "Hierarchy":
        """The same where `level`, or every level that keeps them, stores operands of that role in a format."""
        at = (self.index(level),) if level else range(len(self.levels))
        levels = tuple(
            replace(one, formats=FrozenMap({**one.formats, role: form})) if p in at and role in one.keeps else one
            for p, one in enumerate(self.levels)
        )
        return replace(self, levels=levels)

    @property
    def has_even_formats(self) -> bool:
        """Whether the bits of an element do not depend on the tile, in any format: a search has to know them before."""
        return all(form.is_even for level in self.levels for form in level.formats.values())

    def storing_whole(self) -> "Hierarchy":
        """The same with every operand stored whole where its bits depend on the tile."""
        levels = (
            replace(one, formats=FrozenMap({role: form for role, form in one.formats.items() if form.is_even}))
            for one in self.levels
        )
        return replace(self, levels=tuple(levels))

    def index(self, name: str) -> int:
        """The position of level `name`, outermost is 0. Raises UnknownName."""
        for position, level in enumerate(self.levels):
            if level.name == name:
                return position
        raise unknown_name(f"level of {self.name}", name, [level.name for level in self.levels])

    def shares(self, over: str, *, is_output: bool) -> bool:
        """Whether the network of fan-out dim `over` (level.dim; empty for a loop in time) shares an operand's tiles."""
        if not over:
            return False
        level = self.levels[self.index(over.rpartition(".")[0])]
        return level.can_reduce if is_output else level.can_multicast

    def saved(self, einsum: Einsum, position: int, operand: Operand) -> Saved:
        """What is left of the reads and updates that a level serves inwards: all, but for those of the innermost."""
        return saved(einsum, self.zeros, operand) if position + 1 == len(self.levels) else NOTHING

    @property
    def leak_joule_per_cycle(self) -> float:
        """What all instances of all levels leak."""
        return sum(level.leak_joule_per_cycle * self.num_instances(p) for p, level in enumerate(self.levels))

    def num_instances(self, position: int) -> int:
        """How many instances of the level at `position` there are; len(levels) asks for the arithmetic units."""
        return prod(level.num_children for level in self.levels[:position])

    @property
    def num_macs(self) -> int:
        """Multiply-accumulate units: operations per cycle."""
        return self.num_instances(len(self.levels))


def _level(device: str, name: str, level: StorageLevel, memory: Memory, clock_hz: float) -> Level:
    where = f"{device}: level {name}"
    keeps = frozenset(level.keeps.split()) if level.keeps != "nothing" else frozenset()
    for role in keeps - set(ROLES):
        raise BadInput(f"{where}: keeps {role!r}; use {' '.join(ROLES)}, or nothing")
    for name_of, known in (("ports", ("separate", "shared")), ("buffering", ("double", "single"))):
        if getattr(level, name_of) not in known:
            raise unknown_name(f"{name_of} of {where}", getattr(level, name_of), known)
    reuse = dict(word.partition(":")[::2] for word in level.reuse.split() if level.reuse != "any")
    for dim, role in reuse.items():
        if dim not in level.fanout or role not in ROLES:
            raise BadInput(f"{where}: reuse {dim}:{role}; write DIM:ROLE with a dim of its fanout")
    network = level.network.split()
    for word in network:
        if word not in ("multicast", "reduce", "unicast"):
            raise unknown_name(f"network of {where}", word, ("multicast", "reduce", "unicast"))
    per_cycle = 8 / clock_hz
    return Level(
        name=name, keeps=keeps, capacity_bits=8 * float(memory.capacity_bytes),
        fanout=FrozenMap({dim: int(extent) for dim, extent in level.fanout.items()}), reuse=FrozenMap(reuse),
        read_bits_per_cycle=memory.bandwidth_bytes_per_s * per_cycle,
        write_bits_per_cycle=level.write_bandwidth_bytes_per_s * per_cycle,
        has_shared_port=level.ports == "shared", is_double_buffered=level.buffering == "double",
        can_multicast="multicast" in network, can_reduce="reduce" in network,
        read_joule_per_bit=memory.energy_joule_per_byte / 8,
        write_joule_per_bit=level.energy_joule_per_byte_written / 8,
        update_joule_per_bit=level.energy_joule_per_byte_written / 8, formats=_formats(where, level.formats),
    )  # fmt: skip


def _formats(where: str, text: str) -> FrozenMap[str, Format]:
    return FrozenMap({role: read_format(word) for role, word in _by_role(f"formats of {where}", text).items()})


def _by_role(where: str, text: str) -> dict[str, str]:
    """`input:gate weight:skip:4` by role; nothing for `none`."""
    found = {role: word for role, _, word in (one.partition(":") for one in text.split() if one != "none")}
    for role in found:
        if role not in ("input", "weight"):
            raise unknown_name(where, role, ("input", "weight"))
    return found
