"""Devices and links from the facts of their files. The fields of the classes say which facts must be there.

A new architecture class in architecture.py is read from TOML without a change here.
"""

from collections.abc import Iterable
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, get_args, get_type_hints

from aisys.errors import BadInput
from aisys.frozen import FrozenMap
from aisys.machine.architecture import Architecture
from aisys.machine.facts import Entry
from aisys.machine.types import Device, Link, Memory
from aisys.units import Sourced

ARCHITECTURES: dict[str, type] = {cls.__name__: cls for cls in get_args(Architecture)}
_DEVICE_NUMBERS = ("idle_watt", "max_watt", "price_usd_per_hour")
_MEMORY_NUMBERS = ("capacity_bytes", "bandwidth_bytes_per_s", "latency_s", "energy_joule_per_byte")
_LINK_NUMBERS = ("bandwidth_bytes_per_s", "latency_s")
_MAY_BE_ZERO = ("idle_", "price_", "energy_", "latency_", "dma_setup_")
_WHOLE = ("num_", "rows", "cols")
_LEAST = {"_hz": 1e5, "bytes_per_s": 1e5, "flop_per_s": 1e6}
"""Smaller values are a unit slip: 1980 typed for 1.98 GHz, 3350 for 3.35 TB/s."""


class Facts:
    """The facts of one entry, taken out one by one, so that what is left over is what nobody knows."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.known: list[str] = []

    def number(self, key: str) -> Sourced:
        """The fact `key`. Raises BadInput where it is missing, or out of the range that its name allows."""
        self.known.append(key)
        value = self.entry.facts.get(key)
        if value is None:
            raise BadInput(f"{self.entry.origin}: {self.entry.name} has no {key}; add it to a [[facts]] group")
        return self._in_range(key, value)

    def group(self, prefix: str) -> dict[str, Sourced]:
        """Every fact under `prefix`., by the rest of its key."""
        self.known.append(f"{prefix}.")
        start = len(prefix) + 1
        found = {k[start:]: (k, v) for k, v in self.entry.facts.items() if k.startswith(f"{prefix}.")}
        if prefix == "constants":
            return {rest: value for rest, (_, value) in found.items()}
        return {rest: self._in_range(key, value) for rest, (key, value) in found.items()}

    def finish(self) -> None:
        """Raises BadInput where a fact was never asked for: a slip of the pen, or a field of another architecture."""
        prefixes = tuple(key for key in self.known if key.endswith("."))
        exact = set(self.known)
        for key in self.entry.facts:
            if key not in exact and not key.startswith(prefixes or ("\0",)):
                raise unknown_field(self.entry, key, self.known)

    def _in_range(self, key: str, value: Sourced) -> Sourced:
        leaf = key.rsplit(".", 1)[-1]
        where = f"{self.entry.origin}: {key} of {self.entry.name} is {value:g}"
        if value < 0 or (not value and not leaf.startswith(_MAY_BE_ZERO)):
            raise BadInput(f"{where}; it should be {'zero or ' if leaf.startswith(_MAY_BE_ZERO) else ''}positive")
        if leaf.startswith(_WHOLE) and not value.is_integer():
            raise BadInput(f"{where}; it is a count and should be a whole number")
        unit = next((u for u in _LEAST if leaf.endswith(u) or f".{key}".startswith(f".{u}.")), None)
        if unit and value < _LEAST[unit]:
            raise BadInput(
                f"{where}; numbers are in SI base units (1.98 GHz is 1.98e9), at least {_LEAST[unit]:g} here"
            )
        return value


def unknown_field(entry: Entry, field: str, known: Iterable[str]) -> BadInput:
    """A BadInput for `field` of `entry`, with the nearest known fields."""
    choices = sorted({key.rstrip(".") for key in known})
    near = get_close_matches(field, choices, n=3, cutoff=0.5) or choices[:12]
    return BadInput(f"{entry.origin}: {entry.name} has an unknown field {field[:80]!r}; nearest: {', '.join(near)}")


def check_words(entry: Entry, known: Iterable[str]) -> None:
    """Raises BadInput where `entry` has a text or a table of an unknown name."""
    allowed = {"name", "base", "note", *known}
    for field in (*entry.words, *entry.parts):
        if field not in allowed:
            raise unknown_field(entry, field, allowed | {"aliases", "facts"})


def word(entry: Entry, field: str) -> str:
    """The text `field` of `entry`. Raises BadInput where it is missing."""
    if field not in entry.words:
        raise BadInput(f'{entry.origin}: {entry.name} has no {field}; add {field} = "..." at the top of the file')
    return entry.words[field]


@lru_cache(maxsize=1024)
def device(entry: Entry, generation: Entry | None) -> Device:
    """The device that `entry` describes; facts of its `generation` are constants where the entry gives none."""
    kind = word(entry, "architecture")
    if kind not in ARCHITECTURES:
        raise BadInput(f"{entry.origin}: architecture is {kind!r}; use one of {', '.join(sorted(ARCHITECTURES))}")
    cls = ARCHITECTURES[kind]
    facts = Facts(entry)
    architecture = _architecture(cls, facts, generation.facts if generation else FrozenMap())
    memories = _memories(facts)
    numbers = {name: facts.number(name) for name in _DEVICE_NUMBERS}
    facts.finish()
    check_words(entry, ["architecture", *(name for name, hint in _hints(cls).items() if hint is str or _row(hint))])
    return Device(name=entry.name, architecture=architecture, memories=memories, **numbers)


@lru_cache(maxsize=1024)
def link(entry: Entry) -> Link:
    """The link that `entry` describes. Facts with a dotted key are its constants."""
    facts = Facts(entry)
    numbers = {name: facts.number(name) for name in _LINK_NUMBERS}
    constants = {key.removeprefix("constants."): value for key, value in entry.facts.items() if "." in key}
    facts.known += [key for key in entry.facts if "." in key]
    facts.finish()
    check_words(entry, ["technology"])
    return Link(name=entry.name, technology=word(entry, "technology"), constants=FrozenMap(constants), **numbers)


def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _architecture(cls: type, facts: Facts, constants: FrozenMap[str, Sourced]) -> Any:
    """An instance of architecture `cls` with one fact, or group of facts, per field."""
    return cls(**_fields(cls, facts, facts.entry, "", constants))


def _fields(cls: type, facts: Facts, part: Entry, prefix: str, constants: FrozenMap[str, Sourced]) -> dict[str, Any]:
    """The fields of `cls`: its words from `part`, its numbers from the facts whose keys begin with `prefix`."""
    values: dict[str, Any] = {}
    hints = _hints(cls)
    for field in fields(cls):
        hint = hints[field.name]
        optional = field.default is not MISSING or field.default_factory is not MISSING
        if hint is str:
            if not optional or field.name in part.words:
                values[field.name] = word(part, field.name)
        elif hint is Sourced:
            values[field.name] = facts.number(prefix + field.name)
        elif (row := _row(hint)) is not None:
            values[field.name] = _parts(row, facts, field.name)
        else:
            group = facts.group(prefix + field.name)
            if not group and not optional:
                raise BadInput(f"{facts.entry.origin}: {facts.entry.name} has no {field.name}; give at least one")
            if field.name == "constants":
                group = {**constants, **group}
            values[field.name] = FrozenMap(group) if hint != tuple[Sourced, ...] else tuple(group.values())
    return values


def _row(hint: Any) -> Any:
    """The dataclass X of a hint FrozenMap[str, X], which a file writes as tables; None for other hints."""
    row = get_args(hint)[-1] if get_args(hint) else None
    return row if is_dataclass(row) else None


def _parts(cls: Any, facts: Facts, field: str) -> FrozenMap[str, Any]:
    """One `cls` per table [field.NAME] of the file, in its order."""
    found = facts.entry.parts.get(field)
    if found is None or not found.parts:
        raise BadInput(f"{facts.entry.origin}: {facts.entry.name} has no {field}; add a table [{field}.NAME] for each")
    texts = [name for name, hint in _hints(cls).items() if hint is str]
    made: dict[str, Any] = {}
    for name, part in found.parts.items():
        check_words(part, texts)
        made[name] = cls(**_fields(cls, facts, part, f"{field}.{name}.", FrozenMap()))
    return FrozenMap(made)


def _memories(facts: Facts) -> FrozenMap[str, Memory]:
    """Every memory that the facts name, smallest first."""
    names = list(dict.fromkeys(key.split(".", 1)[0] for key in facts.group("memories")))
    if not names:
        raise BadInput(f"{facts.entry.origin}: {facts.entry.name} has no memories; add memories.NAME.capacity_bytes")
    facts.known.remove("memories.")
    memories = [Memory(name=n, **{f: facts.number(f"memories.{n}.{f}") for f in _MEMORY_NUMBERS}) for n in names]
    return FrozenMap({m.name: m for m in sorted(memories, key=lambda m: m.capacity_bytes)})
