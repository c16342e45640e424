"""What is computed: a product of tensors over named dims, each tensor addressed by sums of dims.

`output[k, p] += weight[k, c, r] * input[c, 2 p + r]` is a convolution with stride 2 of one dimension.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from math import prod
from typing import Any

from aisys.errors import BadInput
from aisys.frozen import FrozenMap
from aisys.ir.density import DENSE, Density, Uniform

ROLES = ("input", "weight", "output")
MAX_EXTENT = 2**40

Rank = FrozenMap[str, int]
"""One axis of a tensor: its index is the sum of coefficient x dim, so `{p: 2, r: 1}` is 2 p + r."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """One tensor of an einsum. role: input, weight or output, which a memory's `keeps` names.

    density: where it is zero. What that saves is for the machine to say: its formats, and what it looks for.
    """

    name: str
    role: str
    ranks: tuple[Rank, ...]
    bits: int = 8
    density: Density = DENSE

    @property
    def dims(self) -> frozenset[str]:
        """The dims that address it. A loop over any other dim meets the same elements again."""
        return frozenset(dim for rank in self.ranks for dim in rank)

    def elements(self, tile: Mapping[str, int]) -> int:
        """How many elements a tile of these extents touches; gaps between strided elements count as touched."""
        return prod(self.widths(tile))

    def widths(self, tile: Mapping[str, int]) -> tuple[int, ...]:
        """Elements along each rank of a tile of these extents."""
        return tuple(1 + sum(c * (tile[d] - 1) for d, c in rank.items()) for rank in self.ranks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Einsum:
    """`extents` of every dim, and the operands: any number that are read, and one output that is summed into."""

    name: str
    extents: FrozenMap[str, int]
    operands: tuple[Operand, ...]

    def __post_init__(self) -> None:
        for dim, extent in self.extents.items():
            if not 1 <= extent <= MAX_EXTENT:
                raise BadInput(f"{self.name}: dim {dim} has extent {extent}; give 1 to {MAX_EXTENT}")
        for operand in self.operands:
            self._check(operand)
        outputs = [operand.name for operand in self.operands if operand.role == "output"]
        if len(outputs) != 1:
            raise BadInput(f"{self.name}: {len(outputs)} outputs ({', '.join(outputs)}); an einsum has one")

    def _check(self, operand: Operand) -> None:
        where = f"{self.name}: {operand.name}"
        if operand.role not in ROLES:
            raise BadInput(f"{where} has role {operand.role!r}; use one of {', '.join(ROLES)}")
        seen: list[str] = [dim for rank in operand.ranks for dim in rank]
        for dim in seen:
            if dim not in self.extents:
                near = get_close_matches(dim, self.extents, n=1) or list(self.extents)
                raise BadInput(f"{where} is indexed by {dim!r}, which has no extent; nearest: {', '.join(near)}")
            if seen.count(dim) > 1:
                raise BadInput(f"{where} uses dim {dim!r} in two ranks; a tile of it would be no box")
        if operand.role == "output" and any(list(rank.values()) != [1] for rank in operand.ranks):
            raise BadInput(f"{where} is written along a sum of dims; rename the dims so that each rank is one dim")
        if any(coefficient < 1 for rank in operand.ranks for coefficient in rank.values()):
            raise BadInput(f"{where} has a coefficient below 1; strides and dilations are at least 1")

    @property
    def dims(self) -> tuple[str, ...]:
        """The names of its dims, in order."""
        return tuple(self.extents)

    @property
    def output(self) -> Operand:
        """The operand that is written."""
        return next(operand for operand in self.operands if operand.role == "output")

    @property
    def num_macs(self) -> int:
        """Points of its iteration space: one multiply-accumulate each."""
        return prod(self.extents.values())

    def with_density(self, name: str, density: Density) -> "Einsum":
        """The same where operand `name` has zeros. Raises BadInput for the output, whose sums may be anything."""
        if self.operand(name).role == "output":
            raise BadInput(f"{self.name}: {name} is written; give the density of an operand that is read")
        changed = (replace(one, density=density) if one.name == name else one for one in self.operands)
        return replace(self, operands=tuple(changed))

    def matrix(self, operand: Operand, widths: Sequence[Any]) -> tuple[Any, Any]:
        """A tile of `operand` with these widths of its ranks as it is stored: rows, and columns along the sums."""
        rows: Any = 1
        columns: Any = 1
        for rank, width in zip(operand.ranks, widths, strict=True):
            if rank.keys() <= self.output.dims:
                rows = rows * width
            else:
                columns = columns * width
        return rows, columns

    def operand(self, name: str) -> Operand:
        """The operand `name`. Raises BadInput with the known names."""
        for one in self.operands:
            if one.name == name:
                return one
        raise BadInput(f"{self.name} has no operand {name!r}; it has {', '.join(o.name for o in self.operands)}")


def matmul(*, m: int, n: int, k: int, batch: int = 1, bits: int = 8) -> Einsum:
    """out[b,m,n] += a[b,m,k] * w[b,k,n]; one weight for the whole batch belongs into m.

    >>> matmul(m=2, n=3, k=4).num_macs
    24
    """
    return _named("matmul", dict(b=batch, m=m, n=n, k=k), ("b m k", "b k n", "b m n"), bits)


CONV_DIMS = "ngmcpqrs"
"""Batch, groups, output and input channels of a group, output rows and columns, filter rows and columns."""


def conv(extents: Mapping[str, int], *, stride: int = 1, dilation: int = 1, bits: int = 8) -> Einsum:
    """A two-dimensional convolution without padding; `extents` of the dims n g m c p q r s, 1 where left out.

    Depthwise is g = channels with m = c = 1. Raises BadInput for another dim.

    >>> conv(dict(m=64, c=3, p=112, q=112, r=7, s=7), stride=2).operands[0].elements(dict.fromkeys("ngmcpqrs", 1))
    1
    """
    for dim in extents:
        if dim not in CONV_DIMS:
            raise BadInput(f"a convolution has no dim {dim!r}; it has {' '.join(CONV_DIMS)}")
    every = {dim: extents.get(dim, 1) for dim in CONV_DIMS}
    rows, cols = f"{stride}p+{dilation}r", f"{stride}q+{dilation}s"
    return _named("conv", every, (f"n g c {rows} {cols}", "g m c r s", "n g m p q"), bits)


def attention(extents: Mapping[str, int], *, bits: int = 8) -> tuple[Einsum, Einsum]:
    """scores[b,h,q,t] += Q[b,h,q,d] K[b,h,t,d], and context[b,h,q,e] += scores[b,h,q,t] V[b,h,t,e].

    `extents`: of b h q t d e. K and V have the role of weights; the softmax between the two is no einsum.
    """
    scores = {dim: extents[dim] for dim in "bhqtd"}
    context = {dim: extents[dim] for dim in "bhqet"}
    return (
        _named("scores", scores, ("b h q d", "b h t d", "b h q t"), bits),
        _named("context", context, ("b h q t", "b h t e", "b h q e"), bits),
    )


def spmm(*, m: int, n: int, k: int, density: float, bits: int = 8) -> Einsum:
    """out[m,n] += a[m,k] * w[k,n] where `density` of a, at any places, is not zero."""
    if not 0 < density <= 1:
        raise BadInput(f"spmm: density is {density:g}; give more than 0 and at most 1")
    return _named("spmm", dict(m=m, n=n, k=k), ("m k", "k n", "m n"), bits).with_density("input", Uniform(density))


def _named(name: str, extents: Mapping[str, int], tensors: Iterable[str], bits: int) -> Einsum:
    """`tensors`: the ranks of input, weight and output as words, `n c 2p+1r`."""
    operands = (
        Operand(name=role, role=role, ranks=tuple(_rank(word) for word in words.split()), bits=bits)
        for role, words in zip(ROLES, tensors, strict=True)
    )
    return Einsum(name=name, extents=FrozenMap(extents), operands=tuple(operands))


def _rank(word: str) -> Rank:
    terms = (term for term in word.split("+"))
    return FrozenMap({term.lstrip("0123456789"): int(term.rstrip("abcdefghijklmnopqrstuvwxyz") or 1) for term in terms})
