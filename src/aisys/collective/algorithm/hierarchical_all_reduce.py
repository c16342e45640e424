"""All-reduce in two levels."""

from collections.abc import Iterator
from dataclasses import dataclass

from aisys.collective.types import ClosedForm, Send
from aisys.errors import CannotApply


@dataclass(frozen=True, slots=True)
class HierarchicalAllReduce:
    """Reduce-scatter inside each node, ring all-reduce between nodes, all-gather inside each node.

    ranks_per_node neighbours share a node; each network port carries 2(n-1)/n of 1/ranks_per_node of the buffer.
    Source: Mikami et al. 2018; Cho et al. 2019 (BlueConnect). Raises CannotApply where the ranks do not fill nodes.
    """

    ranks_per_node: int = 4
    op: str = "all_reduce"

    def num_chunks(self, num_ranks: int) -> int:
        """One chunk for each rank: local index, then node."""
        if num_ranks % self.ranks_per_node:
            raise CannotApply(
                f"hierarchical_all_reduce: {num_ranks} ranks do not fill nodes of {self.ranks_per_node}; "
                "choose a ranks_per_node that divides them"
            )
        return num_ranks

    def sends(self, num_ranks: int) -> Iterator[Send]:
        """Chunk `local * num_nodes + node`: the ranks of index `local` reduce it between nodes."""
        num_nodes = self.num_chunks(num_ranks) // self.ranks_per_node
        last = 1 + 2 * (num_nodes - 1)
        for src in range(num_ranks):
            node, own = divmod(src, self.ranks_per_node)
            for local in range(self.ranks_per_node):
                for part in range(num_nodes) if local != own else ():
                    peer = node * self.ranks_per_node + local
                    yield Send(0, src, peer, local * num_nodes + part, reduce=True)
                    yield Send(last, src, peer, own * num_nodes + part, reduce=False)
            neighbour = (src + self.ranks_per_node) % num_ranks
            for step in range(2 * (num_nodes - 1)):
                chunk = own * num_nodes + (node - step) % num_nodes
                yield Send(1 + step, src, neighbour, chunk, reduce=step < num_nodes - 1)

    def closed_form(self, num_ranks: int) -> ClosedForm:
        """A step, 2(n-1) steps, a step; for links of one speed."""
        local = self.ranks_per_node
        num_nodes = self.num_chunks(num_ranks) // local
        inside, between = 2 * (local > 1), 2 * (num_nodes - 1)
        share = 2 * (local - 1) / local + between / num_ranks
        return ClosedForm(num_steps=inside + between, wire_share=share)
