"""All-to-all between all pairs."""

from collections.abc import Iterator
from dataclasses import dataclass

from aisys.collective.types import ClosedForm, Send


@dataclass(frozen=True, slots=True)
class DirectAllToAll:
    """In step k every rank sends to the rank k places on, so that each port serves one peer at a time.

    Chunk `src * num_ranks + dst` goes from src to dst.
    Source: Thakur, Rabenseifner, Gropp 2005 (pairwise exchange); p-1 latencies and (p-1)/p of the buffer.
    """

    op: str = "all_to_all"

    def num_chunks(self, num_ranks: int) -> int:
        """One chunk for each pair."""
        return num_ranks * num_ranks

    def sends(self, num_ranks: int) -> Iterator[Send]:
        """One chunk out and one in, for every rank and step."""
        for step in range(num_ranks - 1):
            for src in range(num_ranks):
                dst = (src + step + 1) % num_ranks
                yield Send(step, src, dst, src * num_ranks + dst, reduce=False)

    def closed_form(self, num_ranks: int) -> ClosedForm:
        """p-1 steps, each of a p-th of the buffer."""
        return ClosedForm(num_steps=num_ranks - 1, wire_share=(num_ranks - 1) / num_ranks)
