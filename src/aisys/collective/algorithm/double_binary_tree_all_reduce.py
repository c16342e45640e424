"""Double binary tree."""

from collections.abc import Iterator
from dataclasses import dataclass

from aisys.collective.types import ClosedForm, Send


@dataclass(frozen=True, slots=True)
class DoubleBinaryTreeAllReduce:
    """Two binary trees, each reducing and broadcasting half of the buffer; a rank is an inner node in at most one.

    num_pieces: parts of each half, which follow each other up the trees and then down.
    Source: Sanders, Speck, Traeff 2009; NVIDIA NCCL 2.4, 2019.
    """

    num_pieces: int = 8
    op: str = "all_reduce"

    def num_chunks(self, num_ranks: int) -> int:
        """The pieces of both halves."""
        return 2 * self.num_pieces

    def sends(self, num_ranks: int) -> Iterator[Send]:
        """Node n of a tree hangs under (n-1)//2; the second tree numbers the ranks from the other end."""
        depth = num_ranks.bit_length() - 1
        num_up = self.num_pieces + depth - 1
        for node in range(1, num_ranks):
            level, parent = (node + 1).bit_length() - 1, (node - 1) // 2
            for piece in range(self.num_pieces):
                up, down = piece + depth - level, num_up + piece + level - 1
                first, second = piece, self.num_pieces + piece
                yield Send(up, node, parent, first, reduce=True)
                yield Send(up, num_ranks - 1 - node, num_ranks - 1 - parent, second, reduce=True)
                yield Send(down, parent, node, first, reduce=False)
                yield Send(down, num_ranks - 1 - parent, num_ranks - 1 - node, second, reduce=False)

    def closed_form(self, num_ranks: int) -> ClosedForm:
        """Pieces + depth - 1 steps up and down; an inner node takes two pieces a step, one where its tree begins."""
        if num_ranks == 1:
            return ClosedForm(num_steps=0, wire_share=0)
        depth = num_ranks.bit_length() - 1
        steps = self.num_pieces + depth - 1
        has_lone_leaf = num_ranks == 1 << depth
        load = steps if num_ranks == 2 else 2 * steps - has_lone_leaf
        return ClosedForm(num_steps=2 * steps, wire_share=load / self.num_pieces)
