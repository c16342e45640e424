"""Point to point."""

from collections.abc import Iterator
from dataclasses import dataclass

from aisys.collective.types import ClosedForm, Send


@dataclass(frozen=True, slots=True)
class SendRecv:
    """Rank 0 hands its buffer to rank 1, as a pipeline stage hands on its activations.

    Source: MPI: A Message-Passing Interface Standard, 1994.
    """

    op: str = "send_recv"

    def num_chunks(self, num_ranks: int) -> int:
        """The buffer travels whole."""
        return 1

    def sends(self, num_ranks: int) -> Iterator[Send]:
        """One message."""
        if num_ranks > 1:
            yield Send(0, 0, 1, 0, reduce=False)

    def closed_form(self, num_ranks: int) -> ClosedForm:
        """One step of the buffer."""
        return ClosedForm(num_steps=float(num_ranks > 1), wire_share=float(num_ranks > 1))
