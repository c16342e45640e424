"""Devices, links and machines as TOML text that loads back to the same noun, and their digests."""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from hashlib import sha256
from itertools import groupby

from aisys.frozen import FrozenMap
from aisys.machine.types import Device, Link, Machine
from aisys.units import Sourced

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_UNSAFE = re.compile(r'["\\\x00-\x1f\x7f]')


def toml(noun: Device | Link | Machine) -> str:
    """`noun` as the text of a machine file that stands alone: every fact with its source and kind.

    A GPU generation's constants are written out, so the text says all that the cost models read.
    """
    return "\n".join(_table(noun, "")) + "\n"


def digest(noun: Device | Link | Machine) -> str:
    """64 hexadecimal digits, equal for nouns of equal text."""
    return sha256(toml(noun).encode()).hexdigest()


def _table(noun: Device | Link | Machine, prefix: str) -> Iterator[str]:
    """The lines of one noun; `prefix` is its own table name with a dot at the end, or empty."""
    if prefix:
        yield f"\n[{prefix[:-1]}]"
    yield f"name = {_quoted(noun.name)}"
    if isinstance(noun, Machine):
        yield from _machine(noun)
        return
    words = {"technology": noun.technology} if isinstance(noun, Link) else _words(noun)
    yield from (f"{field} = {_quoted(value)}" for field, value in words.items())
    if isinstance(noun, Device):
        yield from _tables(noun, prefix)
    yield from _groups(_link_facts(noun) if isinstance(noun, Link) else _device_facts(noun), prefix)


def _machine(machine: Machine) -> Iterator[str]:
    if machine.mesh:
        yield '\n[[facts]]\nsource = "the machine\'s own shape"\nkind = "datasheet"'
        yield from (f"mesh.{tier} = {extent}" for tier, extent in machine.mesh.items())
    yield from _table(machine.device, "device.")
    links = dict(machine.links) | ({"host": machine.host_link} if machine.host_link else {})
    for tier, link in links.items():
        yield from _table(link, f"links.{tier}.")
    if machine.host is not None:
        yield from _table(machine.host, "host.")


def _words(device: Device) -> dict[str, str]:
    architecture = device.architecture
    texts = {f.name: getattr(architecture, f.name) for f in fields(architecture)}
    return {"architecture": type(architecture).__name__} | {k: v for k, v in texts.items() if isinstance(v, str) and v}


def _tables(device: Device, prefix: str) -> Iterator[str]:
    """The texts of every part of an architecture that is a table of its own, such as the levels of a SpatialArray."""
    for field in fields(device.architecture):
        value = getattr(device.architecture, field.name)
        for name, part in value.items() if isinstance(value, FrozenMap) else ():
            if is_dataclass(part):
                yield f"\n[{prefix}{_key(field.name)}.{_key(name)}]"
                texts = ((f.name, getattr(part, f.name)) for f in fields(part))
                yield from (f"{name} = {_quoted(text)}" for name, text in texts if isinstance(text, str))


def _device_facts(device: Device) -> Iterator[tuple[str, Sourced]]:
    for field in fields(device.architecture):
        yield from _flat(field.name, getattr(device.architecture, field.name))
    yield from _flat("memories", device.memories)
    for field in fields(device):
        value = getattr(device, field.name)
        yield from _flat(field.name, value) if isinstance(value, Sourced) else ()


def _link_facts(link: Link) -> Iterator[tuple[str, Sourced]]:
    for field in fields(link):
        yield from _flat(field.name, getattr(link, field.name))


def _flat(key: str, value: object) -> Iterator[tuple[str, Sourced]]:
    if isinstance(value, Sourced):
        yield key, value
    elif isinstance(value, FrozenMap):
        for name, one in value.items():
            yield from _flat(f"{key}.{name}", one)
    elif isinstance(value, tuple):
        yield from ((f"{key}.{index}", one) for index, one in enumerate(value))
    elif is_dataclass(value):
        for field in fields(value):
            yield from _flat(f"{key}.{field.name}", getattr(value, field.name))


def _groups(facts: Iterator[tuple[str, Sourced]], prefix: str) -> Iterator[str]:
    """One [[facts]] group for each source and kind."""
    pairs = sorted(facts, key=lambda pair: (pair[1].source, pair[1].kind))
    for (source, kind), group in groupby(pairs, key=lambda pair: (pair[1].source, pair[1].kind)):
        yield f"\n[[{prefix}facts]]\nsource = {_quoted(source)}\nkind = {_quoted(kind)}"
        yield from (f"{_key(key)} = {_number(value)}" for key, value in group)


def _key(key: str) -> str:
    return ".".join(part if _BARE.fullmatch(part) else _quoted(part) for part in key.split("."))


def _number(value: Sourced) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(float(value))


def _quoted(text: str) -> str:
    return '"' + _UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", text) + '"'
