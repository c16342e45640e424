"""All-to-all in two levels."""

from collections.abc import Iterator
from dataclasses import dataclass

from aisys.collective.types import ClosedForm, Send
from aisys.errors import CannotApply


@dataclass(frozen=True, slots=True)
class HierarchicalAllToAll:
    """Inside each node, hand everything to the rank whose index it is for; then one message to each other node.

    Fewer and larger messages between nodes: n-1 a rank instead of p - ranks_per_node.
    Source: Rajbhandari et al. 2022 (DeepSpeed-MoE). Raises CannotApply where the ranks do not fill nodes.
    """

    ranks_per_node: int = 4
    op: str = "all_to_all"

    def num_chunks(self, num_ranks: int) -> int:
        """One chunk for each pair."""
        if num_ranks % self.ranks_per_node:
            raise CannotApply(
                f"hierarchical_all_to_all: {num_ranks} ranks do not fill nodes of {self.ranks_per_node}; "
                "choose a ranks_per_node that divides them"
            )
        return num_ranks * num_ranks

    def sends(self, num_ranks: int) -> Iterator[Send]:
        """Chunk `src * num_ranks + dst` goes to the rank of dst's index in src's node, then to dst."""
        local = self.ranks_per_node
        has_inner = int(local > 1)
        for chunk in range(self.num_chunks(num_ranks)):
            src, dst = divmod(chunk, num_ranks)
            between = src // local * local + dst % local
            if between != src:
                yield Send(0, src, between, chunk, reduce=False)
            if between != dst:
                yield Send(has_inner, between, dst, chunk, reduce=False)

    def closed_form(self, num_ranks: int) -> ClosedForm:
        """A step inside the nodes and a step between them; for links of one speed."""
        local = self.ranks_per_node
        num_nodes = self.num_chunks(num_ranks) // num_ranks // local
        share = (local - 1) / local + (num_nodes - 1) / num_nodes
        return ClosedForm(num_steps=(local > 1) + (num_nodes > 1), wire_share=share)
