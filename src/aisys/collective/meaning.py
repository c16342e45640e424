"""What each op promises: which chunks a rank holds before and after, as sums of contributions."""

from collections.abc import Callable, Iterator

from aisys.errors import unknown_name

Held = list[list[int]]
"""held[rank][chunk]: bit r stands for the contribution of rank r; 0 holds nothing."""


def before(op: str, num_ranks: int, num_chunks: int) -> Held:
    """What every rank holds at the start. Raises UnknownName for an op that has no meaning here."""
    starts = _rule(_BEFORE, op)
    return [[starts(rank, chunk, num_ranks, num_chunks) for chunk in range(num_chunks)] for rank in range(num_ranks)]


def after(op: str, num_ranks: int, num_chunks: int) -> Iterator[tuple[int, int, int]]:
    """rank, chunk and what it must hold at the end, for every chunk that the op promises."""
    ends = _rule(_AFTER, op)
    for rank in range(num_ranks):
        for chunk in range(num_chunks):
            wanted = ends(rank, chunk, num_ranks, num_chunks)
            if wanted:
                yield rank, chunk, wanted


def chunk_share(op: str, num_ranks: int, num_chunks: int) -> float:
    """One chunk as a share of the buffer of one rank; all_to_all numbers the chunks of all ranks."""
    return num_ranks / num_chunks if op == "all_to_all" else 1 / num_chunks


Rule = Callable[[int, int, int, int], int]


def _rule(rules: dict[str, Rule], op: str) -> Rule:
    if op not in rules:
        raise unknown_name("collective", op, rules)
    return rules[op]


def _owner(chunk: int, num_ranks: int, num_chunks: int) -> int:
    return chunk * num_ranks // num_chunks


def _pair(chunk: int, num_ranks: int, num_chunks: int) -> tuple[int, int]:
    return divmod(chunk * num_ranks * num_ranks // num_chunks, num_ranks)


_BEFORE: dict[str, Rule] = {
    "all_reduce": lambda r, c, p, n: 1 << r,
    "reduce_scatter": lambda r, c, p, n: 1 << r,
    "all_gather": lambda r, c, p, n: (_owner(c, p, n) == r) << r,
    "all_to_all": lambda r, c, p, n: (_pair(c, p, n)[0] == r) << r,
    "broadcast": lambda r, c, p, n: int(r == 0),
    "send_recv": lambda r, c, p, n: int(r == 0),
}
_AFTER: dict[str, Rule] = {
    "all_reduce": lambda r, c, p, n: (1 << p) - 1,
    "reduce_scatter": lambda r, c, p, n: (1 << p) - 1 if _owner(c, p, n) == r else 0,
    "all_gather": lambda r, c, p, n: 1 << _owner(c, p, n),
    "all_to_all": lambda r, c, p, n: 1 << _pair(c, p, n)[0] if _pair(c, p, n)[1] == r else 0,
    "broadcast": lambda r, c, p, n: 1,
    "send_recv": lambda r, c, p, n: int(r == min(1, p - 1)),
}
