"""Transfers between ranks, really performed: what each rank holds afterwards, and how many elements its buffer has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from aisys.errors import Unsupported
from aisys.plan import Transfer
from aisys.testing.execution.call import Array, Ints
from aisys.testing.execution.cut import Cut, Rank
from aisys.testing.execution.selection import Rows

ROW_STATISTICS = ("top", "total", "chosen")
"""What the ranks of a spread cross entropy combine, one all-reduce each, in this order."""


@dataclass(eq=False)
class Held:
    """What one rank holds of one layer.

    gathered: all tokens of the rank's sequence chunk, of tensors of which `values` has the rank's share. sequences: all
    tokens of the sequence. rows: unfinished statistics of a cross entropy; log_sums: finished ones.
    """

    values: dict[str, Array] = field(default_factory=dict)
    gathered: dict[str, Array] = field(default_factory=dict)
    sequences: dict[str, Array] = field(default_factory=dict)
    rows: dict[str, Rows] = field(default_factory=dict)
    log_sums: Array | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Move:
    """One transfer on all ranks. choice: rank and tokens held to the expert of every row of the rank's own tokens."""

    step: Transfer
    cut: Cut
    held: Mapping[Rank, Held]
    choice: Callable[[Rank, int], Ints]

    def run(self) -> dict[Rank, int]:
        """Change what the ranks hold; returns the elements of each rank's buffer, counted as nccl-tests does."""
        step = self.step
        moves = {
            ("all_gather", "tensor"): self._gather_tokens, ("all_gather", "context"): self._gather_sequence,
            ("reduce_scatter", "tensor"): self._scatter_tokens,
            ("reduce_scatter", "context"): self._scatter_sequence, ("all_reduce", "tensor"): self._all_reduce,
            ("all_to_all", "expert"): self._all_to_all,
        }  # fmt: skip
        if (step.kind, step.mesh_axis) not in moves:
            raise Unsupported(f"transfer {step.kind} of {step.tensor!r} over {step.mesh_axis} has no meaning here")
        found = {rank: moves[step.kind, step.mesh_axis](rank) for rank in self.held}
        for rank, (store, value, _) in found.items():
            getattr(self.held[rank], store)[step.tensor] = value
            if store == "values":
                self.held[rank].gathered.pop(step.tensor, None)
        if isinstance(next(iter(found.values()))[1], Rows):
            self._finish_rows()
        return {rank: num_elements for rank, (_, _, num_elements) in found.items()}

    def _of(self, rank: Rank) -> Array:
        return self.held[rank].values[self.step.tensor]

    @property
    def _token_axis(self) -> int:
        return list(self.cut.block.tensors[self.step.tensor].axes).index("token")

    def _gather_tokens(self, rank: Rank) -> tuple[str, Array, int]:
        parts = [self._of(r) for r in self.cut.tensor_group(rank)]
        whole = np.concatenate(parts, axis=self._token_axis)
        return "gathered", whole, whole.size

    def _gather_sequence(self, rank: Rank) -> tuple[str, Array, int]:
        group = self.cut.context_group(rank)
        parts = np.concatenate([self._of(r) for r in group], axis=self._token_axis)
        order = np.argsort(np.concatenate([self.cut.positions(r) for r in group]))
        return "sequences", parts.take(order, axis=self._token_axis), parts.size

    def _scatter_tokens(self, rank: Rank) -> tuple[str, Array, int]:
        total = self._sum([self._of(r) for r in self.cut.tensor_group(rank)])
        parts = np.split(total, self.cut.degrees.tensor, axis=self._token_axis)
        return "values", parts[rank.tensor], total.size

    def _scatter_sequence(self, rank: Rank) -> tuple[str, Array, int]:
        total = self._sum([self._of(r) for r in self.cut.context_group(rank)])
        return "values", total.take(self.cut.positions(rank), axis=self._token_axis), total.size

    def _all_reduce(self, rank: Rank) -> tuple[str, Array | Rows, int]:
        group = self.cut.tensor_group(rank, self.step.neighbours)
        if self.step.tensor in self.held[rank].rows:
            together = _combined([self.held[r].rows[self.step.tensor] for r in group], rank.tensor)
            return "rows", together, together.top.size
        writer = next(op for op in self.cut.block.ops if self.step.tensor in op.writes)
        parts = [self._of(r) for r in group]
        total = np.max(parts, axis=0) if writer.options.get("function") == "max" else self._sum(parts)
        return "values", total, total.size

    def _finish_rows(self) -> None:
        for held in self.held.values():
            found = held.rows[self.step.tensor]
            if found.num_combined == len(ROW_STATISTICS):
                del held.rows[self.step.tensor]
                held.values[self.step.tensor], held.log_sums = found.loss, found.log_sum

    @staticmethod
    def _sum(parts: list[Array]) -> Array:
        total: Array = np.sum(parts, axis=0)
        return total

    def _all_to_all(self, rank: Rank) -> tuple[str, Array, int]:
        """Rows from those who own the tokens to those who own the experts, or back where rows of all ranks are here."""
        group = self.cut.expert_group(rank)
        mine = self._of(rank)
        num_own = len(self.choice(rank, mine.shape[1]))
        if len(mine) == num_own:
            parts = [self._of(r) * self._goes_to(r, rank) for r in group]
            sent = sum(int(self._goes_to(rank, r).sum()) for r in group)
            return "values", np.concatenate(parts), sent * mine.shape[-1]
        own = slice(rank.expert * num_own, (rank.expert + 1) * num_own)
        total = self._sum([self._of(r)[own] for r in group])
        return "values", total, total.size

    def _goes_to(self, source: Rank, target: Rank) -> Array:
        """1 for rows of `source` whose expert `target` holds, array [batch, token, topk, 1]."""
        choice = self.choice(source, self._of(source).shape[1])
        num_experts = next(op.space["expert"] for op in self.cut.block.ops if op.kind == "grouped_matmul")
        share = num_experts // self.cut.degrees.expert
        return np.asarray(choice // share == target.expert, np.float64)[..., None]


def _combined(parts: list[Rows], own: int) -> Rows:
    """One statistic of all ranks: the largest logit, the sum of exponentials below it, the label's logit."""
    mine = parts[own]
    name = ROW_STATISTICS[mine.num_combined]
    if name == "top":
        top = np.max([part.top for part in parts], axis=0)
        return Rows(top, mine.total * np.exp(mine.top - top), mine.chosen, 1)
    total = np.sum([part.total for part in parts], axis=0) if name == "total" else mine.total
    chosen = np.sum([part.chosen for part in parts], axis=0) if name == "chosen" else mine.chosen
    return Rows(mine.top, total, chosen, mine.num_combined + 1)
