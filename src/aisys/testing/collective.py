"""The contract of a collective algorithm."""

from collections.abc import Iterator
from itertools import groupby
from math import isclose

from aisys.collective.meaning import Held, after, before, chunk_share
from aisys.collective.recurrence import loads, steps, table
from aisys.collective.types import OPS, Algorithm, Send
from aisys.errors import CannotApply
from aisys.testing.contract import require

_NUM_RANKS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16)


def check_collective(algorithm: Algorithm, num_ranks: tuple[int, ...] = _NUM_RANKS) -> None:
    """Raises ContractBroken unless `algorithm` computes its op, for every number of ranks that it accepts.

    Its sends move real integers, in which bit r is the contribution of rank r: at the end every rank must hold what
    the op promises, each contribution once. Its closed form must be what the sends add up to when every step waits
    for the one before: one latency a step, and the busiest port's share of the buffer. A number of ranks that it
    refuses with CannotApply is passed over; it must accept one above 1.
    """
    require(algorithm.op in OPS, f"op is {algorithm.op!r}; use one of {', '.join(OPS)}")
    accepted = [(p, sends) for p in num_ranks for sends in _accepted(algorithm, p)]
    require(any(p > 1 for p, _ in accepted), f"the algorithm refuses every number of ranks of {num_ranks}")
    for p, sends in accepted:
        _check_sends(algorithm, p, sends)
        held = _moved(algorithm, p, sends)
        for rank, chunk, wanted in after(algorithm.op, p, algorithm.num_chunks(p)):
            require(
                held[rank][chunk] == wanted,
                f"{p} ranks: rank {rank} ends with contributions {held[rank][chunk]:0{p}b} in chunk {chunk}; "
                f"{algorithm.op} must give {wanted:0{p}b}",
            )
        _check_closed_form(algorithm, p, sends)


def _accepted(algorithm: Algorithm, num_ranks: int) -> Iterator[list[Send]]:
    """The sends in order of their steps, once; nothing where the algorithm refuses the number of ranks."""
    try:
        first, second = list(algorithm.sends(num_ranks)), list(algorithm.sends(num_ranks))
        algorithm.num_chunks(num_ranks)
    except CannotApply:
        return
    require(first == second, f"{num_ranks} ranks: two calls give different sends")
    yield sorted(first, key=lambda send: send.step)


def _check_sends(algorithm: Algorithm, num_ranks: int, sends: list[Send]) -> None:
    num_chunks = algorithm.num_chunks(num_ranks)
    require(num_chunks >= 1, f"{num_ranks} ranks: num_chunks is {num_chunks}; give at least 1")
    for send in sends:
        ends_fit = 0 <= send.src <= num_ranks and 0 <= send.dst <= num_ranks and send.src != send.dst
        fits = send.step >= 0 and ends_fit and 0 <= send.chunk < num_chunks
        require(fits, f"{num_ranks} ranks, {num_chunks} chunks: {send} is out of range")


def _moved(algorithm: Algorithm, num_ranks: int, sends: list[Send]) -> Held:
    """What every rank, and the switch, hold after all steps."""
    num_chunks = algorithm.num_chunks(num_ranks)
    held = [*before(algorithm.op, num_ranks, num_chunks), [0] * num_chunks]
    for step, group in groupby(sends, key=lambda send: send.step):
        moving = [(send, held[send.src][send.chunk]) for send in group]
        adds: dict[tuple[int, int], bool] = {}
        for send, value in moving:
            where = f"{num_ranks} ranks, step {step}: rank {send.src} sends chunk {send.chunk} to rank {send.dst}"
            require(value != 0, f"{where}, but does not hold it")
            place = send.dst, send.chunk
            is_alone = place not in adds or (adds[place] and send.reduce)
            require(is_alone, f"{where}, which another send of this step writes too")
            adds[place] = send.reduce
            twice = held[send.dst][send.chunk] & value if send.reduce else 0
            require(not twice, f"{where}, which adds contributions {twice:0{num_ranks}b} a second time")
            held[send.dst][send.chunk] = held[send.dst][send.chunk] + value if send.reduce else value
    return held


def _check_closed_form(algorithm: Algorithm, num_ranks: int, sends: list[Send]) -> None:
    found = steps(table(sends))
    busiest = sum(int(loads(step, num_ranks).max()) for step in found)
    share = busiest * chunk_share(algorithm.op, num_ranks, algorithm.num_chunks(num_ranks))
    form = algorithm.closed_form(num_ranks)
    require(
        form.num_steps == len(found),
        f"{num_ranks} ranks: the closed form has {form.num_steps:g} steps; the sends take {len(found)}",
    )
    require(
        isclose(form.wire_share, share, rel_tol=1e-9, abs_tol=1e-12),
        f"{num_ranks} ranks: the closed form sends {form.wire_share:g} buffers through the busiest port; "
        f"the sends add up to {share:g}",
    )
