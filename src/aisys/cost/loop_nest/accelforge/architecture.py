"""Architectures of accelforge: memories, fan-outs and arithmetic, with sets of tensors that may differ per einsum."""

from collections.abc import Mapping
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

from aisys.cost.loop_nest.accelforge.expressions import value
from aisys.cost.loop_nest.accelforge.template import load
from aisys.cost.loop_nest.accelforge.workload import Stage
from aisys.cost.loop_nest.hierarchy import Hierarchy, Level
from aisys.cost.loop_nest.space import Space
from aisys.errors import BadInput, Unsupported
from aisys.frozen import FrozenMap

FREE_HZ = 1e30
"""The clock of arithmetic that takes no time."""

_SEPARATE = "max(a.n_calls / a.throughput for a in actions)"


def read_nodes(path: Path, **parameters: Any) -> tuple[dict[str, Any], ...]:
    """The nodes of an architecture file, outermost first."""
    return tuple(load(path, **parameters)["arch"]["nodes"])


def space_of(nodes: tuple[dict[str, Any], ...], stage: Stage, *, is_fused: bool) -> Space:
    """The mappings of one stage. is_fused: intermediate tensors need not go to the outermost memory.

    Raises Unsupported for a part that has no energy in the file, or whose sets of tensors no mapping can follow.
    """
    names = {**stage.names, **{node["name"]: stage.names["All"] for node in nodes if node["!"] == "Memory"}}
    arithmetic = next(n for n in nodes if n["!"] == "Compute" and value(n.get("enabled", "True"), names, stage.bits))

    clock = value(_action(arithmetic, "compute").get("throughput", "inf"), {}) if arithmetic.get("actions") else inf
    clock = clock if clock < inf else FREE_HZ
    levels: list[Level] = []
    must: dict[str, frozenset[str]] = {}
    filled = False
    for node in nodes[: nodes.index(arithmetic)]:
        filled |= _fan_out(node, levels, stage, names)
        if node["!"] != "Memory":
            continue
        is_first = not levels
        level, needed = _level(node, stage, names, clock)
        levels.append(level)
        if not is_first:
            must[level.name] = needed
    shared = stage.names["Intermediates"] if is_fused else frozenset()
    energy = float(value(_action(arithmetic, "compute").get("energy", 0), {})) if arithmetic.get("actions") else 0.0
    machine = Hierarchy(name="accelforge", levels=tuple(levels), mac_joule=energy, clock_hz=float(clock))
    return Space(
        einsum=stage.einsum, machine=machine, must=FrozenMap(must), is_filled=filled, shared=frozenset(shared),
        children_begin=True,
    )  # fmt: skip


def _action(node: Mapping[str, Any], name: str) -> dict[str, Any]:
    for action in node.get("actions", ()):
        if action["name"] == name:
            return dict(action)
    if node.get("component_class") == "Dummy":
        return {"energy": 0, "throughput": "inf"}
    raise Unsupported(
        f"{node['name']}: no energy of {name!r} in the file; its component_class "
        f"{node.get('component_class', '(none)')!r} is another program's, so write the energies out"
    )


def _level(node: dict[str, Any], stage: Stage, names: Mapping[str, Any], clock: float) -> tuple[Level, frozenset[str]]:
    tensors = node.get("tensors", {})
    everything = stage.names["All"]
    keep = frozenset(value(tensors.get("keep", "Nothing"), names)) & everything
    may = frozenset(value(tensors.get("may_keep", "Nothing"), names)) & everything
    follows = "MainMemory" in str(tensors.get("keep", ""))
    roles = frozenset(o.role for o in stage.einsum.operands if o.name in (keep | may) or follows)
    per_bit = {name: _per_bit(node, name, clock) for name in ("read", "write")}
    latency = node.get("total_latency", "")
    if latency and latency != _SEPARATE:
        raise Unsupported(f"{node['name']}: total_latency {latency!r} is not understood; use {_SEPARATE!r} or none")
    level = Level(
        name=node["name"], keeps=roles, capacity_bits=float(value(node.get("size", "inf"), names, stage.bits)),
        read_joule_per_bit=per_bit["read"][0], write_joule_per_bit=per_bit["write"][0],
        update_joule_per_bit=per_bit["write"][0],
        read_bits_per_cycle=per_bit["read"][1], write_bits_per_cycle=per_bit["write"][1],
        has_shared_port=latency != _SEPARATE,
    )  # fmt: skip
    return level, keep


def _per_bit(node: dict[str, Any], name: str, clock: float) -> tuple[float, float]:
    """Joule per bit and bits per cycle of one kind of access."""
    action = _action(node, name)
    width = float(value(action.get("bits_per_action", 1), {}))
    if "energy" not in action:
        raise Unsupported(f"{node['name']}: {name} has no energy in the file; write it out")
    throughput = float(value(action.get("throughput", "inf"), {}))
    return float(value(action["energy"], {})) / width, throughput * width / clock


def _fan_out(node: dict[str, Any], levels: list[Level], stage: Stage, names: Mapping[str, Any]) -> bool:
    """Put the units of a node below the level outside it; whether the node asks for all of them to be used."""
    spatial = node.get("spatial", ())
    if not spatial:
        return False
    if not levels:
        raise Unsupported(f"{node['name']}: a fan-out outside of every memory")
    outer = levels[-1]
    fanout, reuse = dict(outer.fanout), dict(outer.reuse)
    can_share = outer.can_multicast
    for one in spatial:
        fanout[one["name"]] = int(value(one["fanout"], {}))
        shared = frozenset(value(one.get("reuse", "Nothing"), names)) & stage.names["All"]
        roles = [o.role for o in stage.einsum.operands if o.name in shared]
        if len(roles) > 1:
            raise BadInput(
                f"{node['name']}.{one['name']}: reuse of {', '.join(sorted(shared))}; one operand can be shared"
            )
        if roles:
            reuse[one["name"]] = roles[0]
        may = frozenset(value(one.get("may_reuse", "All"), names))
        can_share &= bool(may)
    levels[-1] = replace(
        outer, fanout=FrozenMap(fanout), reuse=FrozenMap(reuse), can_multicast=can_share, can_reduce=can_share
    )
    return any(float(value(one.get("min_usage", 0), {})) > 0 for one in spatial)
