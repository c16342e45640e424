"""Devices, links and machines by name: from the catalogue that ships, or from a TOML file of the user's own.

docs/machines.md shows how to write one. Results are cached by the content of the files, and are the same object
while no file changes.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from aisys.errors import BadInput, unknown_name
from aisys.frozen import FrozenMap
from aisys.machine import build, catalogue, scalesim_file
from aisys.machine.catalogue import Constants, Sort
from aisys.machine.facts import Entry, entry
from aisys.machine.types import Device, Link, Machine

MAX_NODES = 1_000_000
NETWORK, HOST = "network", "host"


def device(name: str, *, constants: Constants = "fitted") -> Device:
    """The device of a catalogue name, an alias (`A100-SXM4-80GB`), a .toml file or a .cfg of SCALE-Sim.

    constants: `transfer` takes those from fits that saw no row of the device's generation.
    Raises UnknownName with the nearest names; BadInput for a file that does not describe a device.
    """
    if name.endswith(scalesim_file.SUFFIX):
        return scalesim_file.read_device(Path(name), device("systolic-32x32"))
    return _device(catalogue.find("device", name), constants)


def link(name: str, *, constants: Constants = "fitted") -> Link:
    """The link of a catalogue name, an alias or a .toml file. Raises as `device`."""
    return _link(catalogue.find("link", name), constants)


def machine(spec: str, *, constants: Constants = "fitted", num_devices: int | None = None) -> Machine:
    """The machine of a catalogue name, an alias or a .toml file; `NAME*16` is sixteen of them on their network.

    The name of a device gives that device alone. num_devices: exactly so many, part of one node or whole nodes.
    Raises UnknownName with the nearest names; BadInput for a file that does not describe a machine.
    """
    name, num_nodes = _split(spec)
    if name.endswith(scalesim_file.SUFFIX):
        array = device(name)
        alone = Machine(name=array.name, device=array, mesh=FrozenMap(), links=FrozenMap())
        return _resized(alone, None, spec, num_nodes, num_devices)
    found = _entry(name)
    if _sort(found) == "device":
        one = Machine(name=found.name, device=_device(found, constants), mesh=FrozenMap(), links=FrozenMap())
        return _resized(one, None, spec, num_nodes, num_devices)
    node, network = _node(found, constants)
    return _resized(node, network, spec, num_nodes, num_devices)


def list_devices() -> tuple[str, ...]:
    """The names of the devices in the catalogue."""
    return catalogue.names("device")


def list_machines() -> tuple[str, ...]:
    """The names of the machines in the catalogue; every device is a machine of its own as well."""
    return catalogue.names("machine")


def _split(spec: str) -> tuple[str, int]:
    name, star, count = spec.rpartition("*")
    if not star:
        return spec, 1
    if not (count.isascii() and count.isdigit() and len(count) < 9 and 1 <= int(count) <= MAX_NODES):
        raise BadInput(f"{spec[:120]!r}: {count[:20]!r} is not a number of nodes; write NAME*16, from 1 to {MAX_NODES}")
    return name, int(count)


def _entry(name: str) -> Entry:
    if catalogue.is_path(name):
        first = entry(Path(name))
        return catalogue.with_bases(_sort(first), first)
    sorts: tuple[Sort, ...] = ("machine", "device")
    for sort in sorts:
        path = catalogue.path_of(sort, name)
        if path is not None:
            return catalogue.with_bases(sort, entry(path))
    raise catalogue.unknown("machine", name, *sorts)


def _sort(found: Entry, depth: int = 0) -> Sort:
    """Whether `found` describes a device or a machine. Raises BadInput for anything else."""
    base = found.words.get("base")
    if "architecture" in found.words:
        return "device"
    if "device" in found.words or "device" in found.parts:
        return "machine"
    if base is None:
        raise BadInput(f"{found.origin}: neither a device (architecture), nor a machine (device), nor a change (base)")
    if depth >= catalogue.MAX_BASES:
        raise BadInput(f"{found.origin}: base {base!r} leads through too many files; is it a circle?")
    if catalogue.is_path(base):
        return _sort(entry(Path(found.origin).parent / base), depth + 1)
    sorts: tuple[Sort, ...] = ("machine", "device")
    for sort in sorts:
        if catalogue.path_of(sort, base):
            return sort
    raise BadInput(f"{found.origin}: base: {catalogue.unknown('machine', base, *sorts)}")


def _device(found: Entry, constants: Constants) -> Device:
    name = found.words.get("generation")
    if name is None:
        return build.device(found, None)
    if name not in catalogue.generations() and not any(
        key.startswith("constants.") and key.count(".") > 1 for key in found.facts
    ):
        known = unknown_name("generation", name, catalogue.generations())
        raise BadInput(f"{found.origin}: {known}; or give constants of its own as constants.NAME in [[facts]]")
    if constants == "transfer" and not catalogue.has_transfer(name):
        raise BadInput(f"{found.name}: no constants of {name} were fitted without its rows; use constants='fitted'")
    return build.device(found, catalogue.generation(name, constants))


def _link(found: Entry, constants: Constants) -> Link:
    beside = catalogue.link_constants(found, constants)
    return build.link(found if beside is None else catalogue.over(found, beside))


def _node(found: Entry, constants: Constants) -> tuple[Machine, Link | None]:
    """The machine that `found` describes, and the link between several of it."""
    build.check_words(found, ("device", "host", "links"))
    mesh = {key.removeprefix("mesh."): _extent(found, key) for key in found.facts if key.startswith("mesh.")}
    wired = found.parts.get("links")
    tiers = dict.fromkeys((*wired.words, *wired.parts) if wired else ())
    has_host = "host" in found.words or "host" in found.parts
    for tier in mesh.keys() - tiers.keys():
        raise BadInput(f'{found.origin}: tier {tier!r} of mesh has no link; add links.{tier} = "..."')
    for tier in tiers.keys() - {*mesh, NETWORK, HOST}:
        raise BadInput(f"{found.origin}: links.{tier} joins no tier; use {', '.join((*mesh, NETWORK, HOST))}")
    _check_facts(found, ["mesh.", "device.", *(f"links.{tier}." for tier in tiers), *(["host."] if has_host else [])])
    links = {tier: _link(_part(found, "link", f"links.{tier}"), constants) for tier in tiers}
    node = Machine(
        name=found.name, device=_device(_part(found, "device", "device"), constants), mesh=FrozenMap(mesh),
        links=FrozenMap({tier: links[tier] for tier in mesh}), host_link=links.get(HOST),
        host=_device(_part(found, "device", "host"), constants) if has_host else None,
    )  # fmt: skip
    return node, links.get(NETWORK) if NETWORK not in mesh else None


def _check_facts(found: Entry, prefixes: list[str]) -> None:
    for key in found.facts:
        if not key.startswith(tuple(prefixes)):
            raise build.unknown_field(found, key, prefixes)


def _extent(found: Entry, key: str) -> int:
    value = found.facts[key]
    if not (value.is_integer() and 1 <= value <= MAX_NODES):
        raise BadInput(f"{found.origin}: {key} is {value:g}; give a whole number from 1 to {MAX_NODES}")
    return int(value)


def _part(found: Entry, sort: Sort, field: str) -> Entry:
    """The entry at `field` of a machine (a name, a file or a table), under the machine's own facts about it."""
    holder = found.parts["links"] if field.startswith("links.") else found
    leaf = field.removeprefix("links.")
    if leaf in holder.words:
        return _overlaid(found, catalogue.find(sort, holder.words[leaf], Path(found.origin).parent), field)
    return _overlaid(found, catalogue.with_bases(sort, holder.parts[leaf]), field)


@lru_cache(maxsize=1024)
def _overlaid(found: Entry, part: Entry, field: str) -> Entry:
    prefix = f"{field}."
    own = {key.removeprefix(prefix): value for key, value in found.facts.items() if key.startswith(prefix)}
    if not own:
        return part
    change = Entry(
        name=f"{found.name}.{field}", origin=found.origin, words=FrozenMap(), aliases=(), facts=FrozenMap(own),
        parts=FrozenMap(),
    )  # fmt: skip
    return catalogue.over(change, part)


def _resized(node: Machine, network: Link | None, spec: str, num_nodes: int, num_devices: int | None) -> Machine:
    """`num_nodes` times `node`, or so much of it that it has `num_devices`."""
    whole = node.num_devices * num_nodes
    wanted = whole if num_devices is None else num_devices
    if wanted < 1 or (num_nodes > 1 and wanted > whole):
        raise BadInput(f"{spec!r} has {whole} devices, not {wanted}; ask for 1 to {whole}, or for more nodes")
    mesh: dict[str, int] = {}
    rest = wanted
    for tier, extent in node.mesh.items():
        mesh[tier] = min(rest, extent)
        if rest % mesh[tier]:
            raise BadInput(f"{wanted} devices of {node.name!r} do not fill its {tier}s of {extent}; ask for a multiple")
        rest //= mesh[tier]
        if rest == 1:
            break
    if mesh == node.mesh and rest == 1:
        return node
    links = {tier: node.links[tier] for tier in mesh}
    if rest > 1:
        if network is None:
            raise BadInput(
                f"{spec!r}: {node.name} names no network to join {rest} of it; add links.network to its file"
            )
        mesh, links = {**mesh, NETWORK: rest}, {**links, NETWORK: network}
    name = f"{node.name}*{rest}" if rest > 1 else f"{node.name} ({wanted} devices)"
    return replace(node, name=name, mesh=FrozenMap(mesh), links=FrozenMap(links))
