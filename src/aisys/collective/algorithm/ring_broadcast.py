"""Pipelined ring broadcast."""

from collections.abc import Iterator
from dataclasses import dataclass

from aisys.collective.types import ClosedForm, Send


@dataclass(frozen=True, slots=True)
class RingBroadcast:
    """The pieces of rank 0's buffer follow each other from rank to rank.

    Source: NVIDIA NCCL (broadcast); p + pieces - 2 steps.
    """

    num_pieces: int = 8
    op: str = "broadcast"

    def num_chunks(self, num_ranks: int) -> int:
        """The pieces."""
        return self.num_pieces

    def sends(self, num_ranks: int) -> Iterator[Send]:
        """Rank r hands piece k on in step r + k."""
        for src in range(num_ranks - 1):
            for piece in range(self.num_pieces):
                yield Send(src + piece, src, src + 1, piece, reduce=False)

    def closed_form(self, num_ranks: int) -> ClosedForm:
        """Steps of one piece."""
        steps = num_ranks + self.num_pieces - 2 if num_ranks > 1 else 0
        return ClosedForm(num_steps=steps, wire_share=steps / self.num_pieces)
