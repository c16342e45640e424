"""The links of a machine as a table names it, and where the ranks of its rows stand."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray

from aisys.errors import BadInput, UnknownName
from aisys.frozen import FrozenMap
from aisys.machine import Link, device, list_machines, machine
from aisys.machine import link as named_link
from aisys.machine.load import NETWORK
from aisys.validate.prediction import Options


@dataclass(frozen=True, slots=True)
class Wired:
    """The mesh and the links of a machine, without its devices."""

    mesh: Mapping[str, int]
    links: Mapping[str, Link]

    @property
    def devices_per_node(self) -> int:
        return prod(extent for tier, extent in self.mesh.items() if tier != NETWORK)

    def with_link(self, tier: str, link: Link) -> "Wired":
        """The same machine with another link on one tier."""
        return replace(self, links=FrozenMap({**self.links, tier: link}))


def wired(name: str, num_ranks: int, options: Options, *, num_nodes: int = 1) -> Wired:
    """The links of as many nodes of machine `name` as `num_ranks` need, at least `num_nodes`.

    A name that no machine has may be that of a device and a word for its links (`H200-SXM NVLink`): its node is meant.
    Raises UnknownName where the catalogue has neither, BadInput for a machine without links.
    """
    name = _node(name)
    node = machine(name)
    count = max(num_nodes, ceil(num_ranks / node.num_devices))
    found = machine(f"{name}*{count}") if count > 1 else node
    if not found.mesh:
        raise BadInput(f"machine {name!r} is one device without links; name a node")
    links = {tier: named_link(link.name, constants=options.constants) for tier, link in found.links.items()}
    return Wired(found.mesh, options.calibration.links(links) if options.calibration else FrozenMap(links))


def _node(name: str) -> str:
    """The catalogue's name for a machine, or for the first node of the device that `name` begins with."""
    try:
        machine(name)
        return name
    except UnknownName as error:
        try:
            meant = device(name.rsplit(" ", 1)[0]).name
        except UnknownName:
            raise error from None
        nodes = (known for known in list_machines() if machine(known).mesh and machine(known).device.name == meant)
        found = next(nodes, None)
        if found is None:
            raise
        return found


def spread(found: Wired, ranks: NDArray[np.int64], per_node: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Tier to the members of each row's group along it, where each node holds `per_node` ranks, neighbours first.

    Raises BadInput where the ranks do not fill the nodes evenly.
    """
    if (ranks % per_node).any():
        wrong = np.flatnonzero(ranks % per_node)[0]
        raise BadInput(f"{ranks[wrong]} ranks do not fill nodes of {per_node[wrong]}; give a multiple")
    members, left = {}, per_node
    for tier, extent in found.mesh.items():
        if tier == NETWORK:
            members[tier] = ranks // per_node
            continue
        here = np.minimum(left, extent)
        members[tier] = np.where(left % here, left, here)
        left = left // members[tier]
    return members
