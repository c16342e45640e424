"""Bruck's all-gather."""

from collections.abc import Iterator
from dataclasses import dataclass

from aisys.collective.types import ClosedForm, Send


@dataclass(frozen=True, slots=True)
class BruckAllGather:
    """Each rank fetches all that the rank 1, 2, 4, ... places on holds: a logarithmic number of steps for any group.

    Source: Bruck et al. 1997; ceil(log2 p) latencies and (p-1)/p of the gathered buffer through each port.
    """

    op: str = "all_gather"

    def num_chunks(self, num_ranks: int) -> int:
        """One chunk for each rank."""
        return num_ranks

    def sends(self, num_ranks: int) -> Iterator[Send]:
        """After a step each rank holds its own chunk and the `held` after it; the last step fetches what is missing."""
        held, step = 1, 0
        while held < num_ranks:
            for src in range(num_ranks):
                for offset in range(min(held, num_ranks - held)):
                    yield Send(step, src, (src - held) % num_ranks, (src + offset) % num_ranks, reduce=False)
            held, step = 2 * held, step + 1

    def closed_form(self, num_ranks: int) -> ClosedForm:
        """ceil(log2 p) steps; every chunk but its own reaches each rank once."""
        return ClosedForm(num_steps=(num_ranks - 1).bit_length(), wire_share=(num_ranks - 1) / num_ranks)
