"""All-reduce inside the switch."""

from collections.abc import Iterator
from dataclasses import dataclass

from aisys.collective.types import ClosedForm, Send


@dataclass(frozen=True, slots=True)
class SwitchAllReduce:
    """The switch adds what all ranks hold, and copies each sum to all of them (NVLink SHARP, NVLS).

    The owner of a chunk asks the switch for its sum, and hands it back for the switch to multicast, so that a port
    carries (p+1)/p of the buffer a direction instead of 2(p-1)/p. num_pieces follow each other.
    Source: NVIDIA NCCL 2.17, 2023; Klenk et al. 2020.
    """

    num_pieces: int = 8
    op: str = "all_reduce"

    def num_chunks(self, num_ranks: int) -> int:
        """One chunk for each rank and piece."""
        return num_ranks * self.num_pieces

    def sends(self, num_ranks: int) -> Iterator[Send]:
        """Rank `num_ranks` is the switch: in with reduction, out to the owner, in again, out to all."""
        switch = num_ranks
        if num_ranks == 1:
            return
        for piece in range(self.num_pieces):
            for owner in range(num_ranks):
                chunk = piece * num_ranks + owner
                for rank in range(num_ranks):
                    yield Send(piece, rank, switch, chunk, reduce=True)
                    yield Send(piece + 3, switch, rank, chunk, reduce=False)
                yield Send(piece + 1, switch, owner, chunk, reduce=False)
                yield Send(piece + 2, owner, switch, chunk, reduce=False)

    def closed_form(self, num_ranks: int) -> ClosedForm:
        """Pieces + 3 steps; in a full one the port carries a piece and one chunk each way."""
        if num_ranks == 1:
            return ClosedForm(num_steps=0, wire_share=0)
        pieces, load = self.num_pieces, 0
        for step in range(pieces + 3):
            out = num_ranks * (step < pieces) + (2 <= step < pieces + 2)
            into = num_ranks * (step >= 3) + (1 <= step < pieces + 1)
            load += max(out, into)
        return ClosedForm(num_steps=pieces + 3, wire_share=load / (num_ranks * pieces))
