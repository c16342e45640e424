"""Where the ranks of a parallel group stand: how many share a node, and how many groups share its links."""

from dataclasses import dataclass
from math import prod

from aisys.errors import CannotApply
from aisys.machine import Machine
from aisys.plan.types import Plan

ORDER = ("tensor", "context", "data", "pipeline")
"""Mesh axes from the innermost (neighbours in one node) to the outermost. Source: Megatron-LM's default rank order."""

MOST_LEFT_FREE = 0.02
"""A group whose last node stays partly empty counts as full where that is at most this share of it. Assumed."""


@dataclass(frozen=True, slots=True)
class Group:
    """`size` ranks, of which each machine tier holds some: `members` is tier name to ranks along that tier,
    innermost first, with product `size` (a few more where its last node is not full). `sharing`: groups of the same
    kind that use one node's network links at once.
    """

    size: int
    members: tuple[tuple[str, int], ...]
    sharing: int = 1


def groups(plan: Plan, machine: Machine) -> dict[str, Group]:
    """The group of each mesh axis of `plan` on `machine`.

    `expert` is the inner part of data; `model_state` the ranks that hold the same dense weights (data x context),
    `expert_data` those that hold the same experts.

    Raises CannotApply where the machine has fewer devices than the plan needs.
    """
    if plan.num_devices > machine.num_devices:
        raise CannotApply(f"the plan needs {plan.num_devices} devices; {machine.name} has {machine.num_devices}")
    degrees = {"tensor": plan.tensor, "context": plan.context, "data": plan.data, "pipeline": plan.pipeline}
    out, stride = {}, 1
    for axis in ORDER:
        out[axis] = _group(degrees[axis], stride, machine)
        if axis == "data":
            out["expert"] = _group(plan.expert, stride, machine)
            replicas = _group(plan.data // plan.expert, stride * plan.expert, machine)
            out["expert_data"] = _joined(out["context"], replicas, machine)
            out["model_state"] = _group(plan.data * plan.context, stride // plan.context, machine)
        stride *= degrees[axis]
    return out


def _group(size: int, stride: int, machine: Machine) -> Group:
    """A group of `size` ranks, `stride` apart: fill the innermost tier that still has room, then the next."""
    members, left, inner = [], size, 1
    for tier, extent in machine.mesh.items():
        room = max(1, inner * extent // max(stride, inner)) if inner * extent >= stride else 1
        here = _members(left, room)
        members.append((tier, here))
        left = -(-left // here)
        inner *= extent
    if left > 1:
        tier, here = members[-1]
        members[-1] = (tier, here * left)
    node = next(iter(machine.mesh.values()), 1)
    return Group(size, tuple(members), max(1, min(stride, node) if prod(n for _, n in members[1:]) > 1 else 1))


def _joined(inner: Group, outer: Group, machine: Machine) -> Group:
    """The ranks of `outer`, each with those of its `inner` group; as many such groups share a node's links as fit."""
    pairs = zip(inner.members, outer.members, strict=True)
    members = tuple((tier, near * far) for (tier, near), (_, far) in pairs)
    node = next(iter(machine.mesh.values()), 1)
    spans = prod(n for _, n in members[1:]) > 1
    return Group(inner.size * outer.size, members, max(1, node // members[0][1]) if spans else 1)


def _members(number: int, room: int) -> int:
    """How many of `number` ranks each member of a tier holds, of `room` at most: all alike, or as many as there is room
    for where that leaves next to nothing free in the last.

    >>> _members(336, 2), _members(363, 2), _members(12, 8)
    (2, 2, 6)
    """
    left_free = -number % room
    if room <= number and left_free <= MOST_LEFT_FREE * number:
        return room
    return next(d for d in range(min(number, room), 0, -1) if number % d == 0)
