"""Recursive halving and doubling."""

from collections.abc import Iterator
from dataclasses import dataclass

from aisys.collective.types import ClosedForm, Send


@dataclass(frozen=True, slots=True)
class HalvingDoublingAllReduce:
    """Partners at halving distance exchange halves of what they still reduce; doubling distances gather it again.

    Where the number of ranks is no power of two, the ranks above it first hand their buffers to a lower one, and
    receive the sum at the end.
    Source: Rabenseifner 2004; Thakur, Rabenseifner, Gropp 2005; 2 log2 p latencies and 2(p-1)/p of the buffer.
    """

    op: str = "all_reduce"

    def num_chunks(self, num_ranks: int) -> int:
        """One chunk for each rank of the largest power of two within."""
        return 1 << (num_ranks.bit_length() - 1)

    def sends(self, num_ranks: int) -> Iterator[Send]:
        """Fold in, halve, double, fold out."""
        core = self.num_chunks(num_ranks)
        extra = num_ranks - core
        for above in range(extra):
            for chunk in range(core):
                yield Send(0, core + above, above, chunk, reduce=True)
        first, num_halvings = int(extra > 0), core.bit_length() - 1
        for k in range(num_halvings):
            distance = core >> (k + 1)
            for src in range(core):
                partner = src ^ distance
                for chunk in _block(partner, distance):
                    yield Send(first + k, src, partner, chunk, reduce=True)
                last = first + 2 * num_halvings - 1 - k
                for chunk in _block(src, distance):
                    yield Send(last, src, partner, chunk, reduce=False)
        for above in range(extra):
            for chunk in range(core):
                yield Send(first + 2 * num_halvings, above, core + above, chunk, reduce=False)

    def closed_form(self, num_ranks: int) -> ClosedForm:
        """2 log2 q steps of halves, quarters, ... among q ranks, and two steps of the whole buffer where p > q."""
        core = self.num_chunks(num_ranks)
        folds = 2 * (num_ranks > core)
        return ClosedForm(num_steps=2 * (core.bit_length() - 1) + folds, wire_share=2 * (core - 1) / core + folds)


def _block(rank: int, distance: int) -> range:
    """The chunks that `rank` keeps after halving down to `distance` of them."""
    start = rank // distance * distance
    return range(start, start + distance)
