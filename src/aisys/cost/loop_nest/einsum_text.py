"""Einsums as people write them: `out[k, p] += weight[k, c, r] * input[c, 2p + r]`."""

import re
from collections.abc import Mapping

from aisys.cost.loop_nest.einsum import ROLES, Einsum, Operand, Rank
from aisys.errors import BadInput
from aisys.frozen import FrozenMap

MAX_CHARS = 1000
SHAPE = "write OUT[m, n] += A[m, k] * B[k, n]"
_TENSOR = r"([A-Za-z_]\w*)\[([^][]*)\]"
_TERM = re.compile(r"(\d{1,12})?\*?([A-Za-z_]\w*)")


def dims_of(text: str) -> tuple[str, ...]:
    """The dims that `text` names, in order. Raises BadInput as `einsum_of`.

    >>> dims_of("out[m, n] += a[m, k] * b[k, n]")
    ('m', 'n', 'k')
    """
    return tuple(dict.fromkeys(dim for _, ranks in _tensors(text) for rank in ranks for dim in rank))


def einsum_of(text: str, extents: Mapping[str, int], *, bits: int = 8) -> Einsum:
    """The einsum that `text` writes, with these extents.

    A factor named input or weight has that role; of the others the first is the input, the rest are weights, which
    says what a level's `keeps` means by them. Raises BadInput for another form, a dim without an extent or an extent
    without a dim.

    >>> einsum_of("out[m, n] += a[m, k] * b[k, n]", dict(m=2, n=3, k=4)).num_macs
    24
    """
    (out, out_ranks), *factors = _tensors(text)
    known = dims_of(text)
    for dim in extents:
        if dim not in known:
            raise BadInput(f"{dim} is no dim of {text[:60]!r}; its dims are {' '.join(known)}")
    first = next((name for name, _ in factors if name not in ROLES), None)
    roles = {name: name if name in ROLES[:2] else "input" if name == first else "weight" for name, _ in factors}
    operands = [Operand(name=name, role=roles[name], ranks=ranks, bits=bits) for name, ranks in factors]
    return Einsum(
        name="einsum", extents=FrozenMap(extents),
        operands=(*operands, Operand(name=out, role="output", ranks=out_ranks, bits=bits)),
    )  # fmt: skip


def chain_of(text: str, extents: Mapping[str, int], *, bits: int = 8) -> tuple[Einsum, ...]:
    """The einsums of a text that a semicolon separates; a dim of one name has one extent in all of them.

    Raises BadInput as `einsum_of`.

    >>> [one.num_macs for one in chain_of("s[i] += a[i, j] * b[j]; t[i] += s[i] * c[i]", dict(i=2, j=3))]
    [6, 2]
    """
    parts = text.split(";")
    dims = [dims_of(part) for part in parts]
    for dim in extents:
        if not any(dim in some for some in dims):
            raise BadInput(f"{dim} is no dim of the chain; its dims are {' '.join(dict.fromkeys(sum(dims, ())))}")
    return tuple(
        einsum_of(part, {dim: extents[dim] for dim in some if dim in extents}, bits=bits)
        for part, some in zip(parts, dims, strict=True)
    )


def _tensors(text: str) -> list[tuple[str, tuple[Rank, ...]]]:
    """Name and ranks of the output and of every factor."""
    spaced = text.replace("×", "*")
    if len(text) > MAX_CHARS or not re.fullmatch(rf"\s*{_TENSOR}\s*\+=\s*{_TENSOR}(\s*\*\s*{_TENSOR})*\s*", spaced):
        raise BadInput(f"{text[:60]!r} is no einsum; {SHAPE}")
    found = [
        (name, tuple(_rank(rank, name) for rank in ranks.split(","))) for name, ranks in re.findall(_TENSOR, spaced)
    ]
    names = [name for name, _ in found]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"{name} stands twice in {text[:60]!r}; give each tensor a name of its own")
    return found


def _rank(text: str, tensor: str) -> Rank:
    """One index: a sum of dims with coefficients."""
    rank: dict[str, int] = {}
    for part in text.split("+"):
        term = _TERM.fullmatch("".join(part.split()))
        if term is None:
            raise BadInput(f"{tensor} is indexed by {text.strip()[:40]!r}; an index is a sum of dims, such as 2p + r")
        rank[term[2]] = rank.get(term[2], 0) + int(term[1] or 1)
    return FrozenMap(rank)
