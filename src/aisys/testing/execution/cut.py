"""Which part of every tensor a rank of a mesh holds, and the whole tensor from all parts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from aisys.errors import CannotApply
from aisys.ir import Block, Tensor
from aisys.plan import Degrees
from aisys.plan.sharding import TENSOR_AXES, spread_over_experts
from aisys.testing.contract import require
from aisys.testing.execution.call import Array, Ints


@dataclass(frozen=True, slots=True, order=True)
class Rank:
    """A place on the mesh."""

    tensor: int
    context: int
    expert: int


@dataclass(frozen=True, eq=False)
class Cut:
    """How `degrees` cut a sequence of `num_tokens` tokens and the tensors of one block.

    Context ranks hold a chunk from the start and one from the end of the sequence, so that causal work is even; tensor
    ranks hold heads, features and rows of the vocabulary in order; expert ranks hold experts, and sequences in order.
    """

    degrees: Degrees
    num_tokens: int
    block: Block
    experts: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "experts", spread_over_experts(self.block))

    @property
    def ranks(self) -> list[Rank]:
        """Every rank of the mesh."""
        d = self.degrees
        return [Rank(*place) for place in product(range(d.tensor), range(d.context), range(d.expert))]

    def positions(self, rank: Rank, *, in_tokens: bool = False) -> Ints:
        """The positions in the sequence of a rank's tokens; `in_tokens`: of its share under sequence parallelism."""
        parts = np.split(np.arange(self.num_tokens), 2 * self.degrees.context if self.degrees.context > 1 else 1)
        mine = [parts[rank.context], parts[-1 - rank.context]] if self.degrees.context > 1 else parts
        held = np.concatenate(mine)
        return np.split(held, self.degrees.tensor)[rank.tensor] if in_tokens else held

    def part(self, tensor: Tensor, array: Array, rank: Rank, *, in_tokens: bool = False) -> Array:
        """What `rank` holds of the whole `array`."""
        for i, (axis, extent) in enumerate(tensor.axes.items()):
            array = array.take(self._indices(tensor.name, axis, extent, rank, in_tokens=in_tokens), axis=i)
        return array

    def _indices(self, name: str, axis: str, extent: int, rank: Rank, *, in_tokens: bool) -> Ints:
        everything = np.arange(extent)
        if axis == "token" and extent == self.num_tokens:
            return self.positions(rank, in_tokens=in_tokens)
        if axis == "batch":
            return _share(everything, rank.expert, self.degrees.expert, axis)
        if axis == "expert" and name in self.experts:
            return _share(everything, rank.expert, self.degrees.expert, axis)
        if axis == "kv_head" and extent < self.degrees.tensor:
            return everything[[rank.tensor * extent // self.degrees.tensor]]
        if axis in TENSOR_AXES:
            return _share(everything, rank.tensor, self.degrees.tensor, axis)
        return everything

    def whole(self, tensor: Tensor, parts: Mapping[Rank, Array], *, is_sum: bool = False) -> Array:
        """The whole tensor from all parts; ranks that hold the same part must agree.

        is_sum: sequences and tokens are summed over (the gradient of a weight), as data parallelism does.
        """
        shape = tuple(tensor.axes.values())
        total = np.zeros(shape)
        for group in self._groups(parts) if is_sum else [parts]:
            total += self._placed(tensor, shape, group)
        return total

    def _groups(self, parts: Mapping[Rank, Array]) -> Iterator[dict[Rank, Array]]:
        """Ranks that share tokens (and, where experts are spread, together hold all experts)."""
        for place in sorted({(r.context, r.expert) for r in parts}):
            yield {r: part for r, part in parts.items() if (r.context, r.expert) == place}

    def _placed(self, tensor: Tensor, shape: tuple[int, ...], parts: Mapping[Rank, Array]) -> Array:
        out, is_known = np.zeros(shape), np.zeros(shape, bool)
        for rank, part in parts.items():
            in_tokens = self.is_share(tensor, part)
            where = np.ix_(*(
                self._indices(tensor.name, axis, extent, rank, in_tokens=in_tokens)
                for axis, extent in tensor.axes.items()
            ))  # fmt: skip
            same = ~is_known[where] | np.isclose(out[where], part, rtol=1e-9, atol=1e-9)
            require(bool(same.all()), f"ranks with the same part of {tensor.name!r} do not agree, {rank} among them")
            out[where], is_known[where] = part, True
        return out

    def is_share(self, tensor: Tensor, part: Array) -> bool:
        """Whether `part` holds one tensor rank's share of the tokens, as under sequence parallelism."""
        axes = list(tensor.axes)
        return "token" in axes and part.shape[axes.index("token")] < self.num_tokens // self.degrees.context

    def tensor_group(self, rank: Rank, neighbours: int = 0) -> list[Rank]:
        """The ranks along the tensor axis, or the aligned group of `neighbours` of them, that `rank` belongs to."""
        size = neighbours or self.degrees.tensor
        first = rank.tensor // size * size
        return [Rank(t, rank.context, rank.expert) for t in range(first, first + size)]

    def context_group(self, rank: Rank) -> list[Rank]:
        """The ranks that hold the same sequences, heads and experts."""
        return [Rank(rank.tensor, c, rank.expert) for c in range(self.degrees.context)]

    def expert_group(self, rank: Rank) -> list[Rank]:
        """The ranks that together hold all experts."""
        return [Rank(rank.tensor, rank.context, e) for e in range(self.degrees.expert)]


def _share(indices: Ints, rank: int, ways: int, axis: str) -> Ints:
    if len(indices) % ways:
        raise CannotApply(f"axis {axis!r} of extent {len(indices)} does not split {ways} ways; choose one that does")
    return np.split(indices, ways)[rank]
