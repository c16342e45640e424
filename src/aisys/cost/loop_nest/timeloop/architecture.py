"""Architectures of Timeloop as hierarchies, with the energy table that its run used.

A component is a level of storage, the last one the multiply-accumulate unit; a container with `spatial` is a level
that only fans out. The energy table names every component with its number of instances. Where these disagree with
the architecture, the run had the fan-out elsewhere (a file that was edited later), and the table decides: it moves
outwards past the components that the table counts once per unit.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from aisys.cost.loop_nest.einsum import ROLES, Einsum
from aisys.cost.loop_nest.hierarchy import Hierarchy, Level
from aisys.cost.loop_nest.timeloop.fields import list_at, mapping_at, number_at, text_at
from aisys.cost.loop_nest.yaml_file import TAG, read_yaml
from aisys.errors import BadInput
from aisys.frozen import FrozenMap
from aisys.units import PICO

DEFAULT_WORD_BITS = 16
_COUNTED = re.compile(r"(?:[^\[\]]*\.)?([^.\[\]]+)\[(\d+)\.\.(\d+)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Energies:
    """One component of an energy table: instances, and joule per action by name."""

    num_instances: int
    joule: FrozenMap[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """`machine`, and what each level keeps or lets pass by default: level name to data space names, or None for all.

    compute: name of the arithmetic unit, which the energy table prices.
    """

    machine: Hierarchy
    keeps: FrozenMap[str, tuple[str, ...] | None]
    bypasses: FrozenMap[str, tuple[str, ...]]
    compute: str

    def searchable(self, einsum: Einsum) -> Hierarchy:
        """The machine whose levels may keep only what they keep by default, as Timeloop's mapper is told."""
        roles = {operand.name: operand.role for operand in einsum.operands}
        levels = []
        for level in self.machine.levels:
            names = self.keeps.get(level.name, ()) if level.keeps else ()
            wanted = set(roles if names is None else names) - set(self.bypasses.get(level.name, ()))
            levels.append(replace(level, keeps=frozenset(roles[name] for name in wanted)))
        return replace(self.machine, levels=tuple(levels))


def read_architecture(path: Path, energy_table: Path) -> Architecture:
    """The architecture of a Timeloop 0.4 file with the energies of a reference table (ERT).

    Raises BadInput for files that are not those, and for a component that the table does not price.
    """
    nodes = list(_nodes(list_at(mapping_at(read_yaml(path), "architecture", path), "nodes", path), path, False))
    priced = _energies(energy_table)
    components = [(node, is_parallel) for node, is_parallel in nodes if node[TAG] == "Component"]
    if len(components) < 2:
        raise BadInput(f"{path.name}: {len(components)} components; give storage and an arithmetic unit")
    compute = text_at(components[-1][0], "name", path)
    levels: list[Level] = []
    keeps: dict[str, tuple[str, ...] | None] = {}
    bypasses: dict[str, tuple[str, ...]] = {}
    clock_s = 1e-9
    for node, is_parallel in nodes:
        name = text_at(node, "name", path)
        fields = node.get("attributes") or {}
        clock_s = number_at(fields, "global_cycle_seconds", path, clock_s)
        fanout = {axis: int(extent) for axis, extent in (node.get("spatial") or {}).items()}
        if fanout:
            levels.append(Level(name=name, keeps=frozenset(), fanout=FrozenMap(fanout)))
        if node[TAG] == "Component" and name != compute:
            levels.append(_storage(name, fields, _priced(priced, name, energy_table), path))
            keeps[name], bypasses[name] = _default_keeps(node, is_parallel)
    levels = _as_priced(levels, {name: one.num_instances for name, one in priced.items()})
    mac = _priced(priced, compute, energy_table).joule
    machine = Hierarchy(
        name=path.name.removesuffix(".yaml"), levels=tuple(levels),
        mac_joule=_compute_joule(mac, compute, energy_table), clock_hz=1 / clock_s if clock_s else 1e9,
        reads_on_drain=False,
    )  # fmt: skip
    return Architecture(machine=machine, keeps=FrozenMap(keeps), bypasses=FrozenMap(bypasses), compute=compute)


def _nodes(nodes: list[Any], path: Path, is_parallel: bool) -> Iterator[tuple[dict[str, Any], bool]]:
    """Containers and components in order, and whether each stands beside others in a !Parallel group."""
    for node in nodes:
        if not isinstance(node, dict):
            raise BadInput(f"{path.name}: {str(node)[:60]!r} is no node; write !Component or !Container mappings")
        tag = node.get(TAG)
        if tag in ("Parallel", "Hierarchical"):
            yield from _nodes(list_at(node, "nodes", path), path, tag == "Parallel")
        elif tag in ("Component", "Container"):
            yield node, is_parallel
        elif tag != "Nothing":
            raise BadInput(
                f"{path.name}: a node has tag {str(tag)!r}; use Component, Container, Parallel or Hierarchical"
            )


def _storage(name: str, fields: dict[str, Any], priced: Energies, path: Path) -> Level:
    """Energies are those of one vector access of `block` words."""
    word_bits = int(number_at(fields, "datawidth", path, DEFAULT_WORD_BITS))
    width = number_at(fields, "width", path, word_bits)
    block = number_at(fields, "block_size", path, max(1, width // word_bits))
    depth = number_at(fields, "depth", path, 0)
    words = depth * block / number_at(fields, "multiple_buffering", path, 1) if depth else inf
    per_bit = 1 / (block * word_bits)
    shared = number_at(fields, "shared_bandwidth", path, 0)
    reading, writing = (shared or number_at(fields, f"{way}_bandwidth", path, inf) for way in ("read", "write"))
    return Level(
        name=name, keeps=frozenset(ROLES), capacity_bits=words * word_bits, word_bits=word_bits,
        block_words=int(block),
        read_bits_per_cycle=reading * word_bits, write_bits_per_cycle=writing * word_bits, has_shared_port=shared > 0,
        read_joule_per_bit=_action(priced, name, "read") * per_bit,
        write_joule_per_bit=_action(priced, name, "write") * per_bit,
        update_joule_per_bit=_action(priced, name, "update", "write") * per_bit,
        leak_joule_per_cycle=priced.joule.get("leak", 0.0),
    )  # fmt: skip


def _default_keeps(node: dict[str, Any], is_parallel: bool) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """What the constraints of the architecture keep here, None for all, and what passes by."""
    dataspace = (node.get("constraints") or {}).get("dataspace") or {}
    keep, bypass = dataspace.get("keep"), tuple(dataspace.get("bypass") or ())
    return (tuple(keep) if keep is not None and is_parallel else None), bypass


def _as_priced(levels: list[Level], instances: dict[str, int]) -> list[Level]:
    """The levels with every fan-out outside the storage that the energy table counts once per unit."""
    found = list(levels)
    for position in range(1, len(found)):
        place = position
        while found[place].keeps == frozenset() and place > 0 and found[place - 1].keeps:
            outside = 1
            for level in found[: place - 1]:
                outside *= level.num_children
            if instances.get(found[place - 1].name) != outside * found[place].num_children or outside == 0:
                break
            if found[place].num_children == 1:
                break
            found[place - 1], found[place] = found[place], found[place - 1]
            place -= 1
    return found


def _energies(path: Path) -> dict[str, Energies]:
    table = mapping_at(read_yaml(path), "ERT", path)
    found: dict[str, Energies] = {}
    for entry in list_at(table, "tables", path):
        named = _COUNTED.fullmatch(text_at(entry, "name", path))
        if named is None:
            raise BadInput(f"{path.name}: {entry['name'][:60]!r} is not of the form NAME[1..N]")
        actions = {
            text_at(action, "name", path): number_at(action, "energy", path) * PICO
            for action in list_at(entry, "actions", path)
        }
        found[named[1]] = Energies(num_instances=int(named[3]) - int(named[2]) + 1, joule=FrozenMap(actions))
    return found


def _priced(priced: dict[str, Energies], name: str, table: Path) -> Energies:
    if name not in priced:
        raise BadInput(f"{table.name}: no energies of {name!r}; it has {', '.join(priced)[:200]}")
    return priced[name]


def _action(priced: Energies, name: str, *actions: str) -> float:
    for action in actions:
        if action in priced.joule:
            return priced.joule[action]
    raise BadInput(f"the energy table has no action {actions[0]!r} of {name!r}; it has {', '.join(priced.joule)}")


def _compute_joule(actions: FrozenMap[str, float], name: str, table: Path) -> float:
    for action, joule in actions.items():
        if action in ("compute", "mac_random", "mac", "multiply"):
            return joule
    raise BadInput(f"{table.name}: {name} has no action compute; it has {', '.join(actions)}")
