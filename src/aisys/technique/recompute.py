"""Activation recomputation: keep fewer tensors from forward, run the ops that rebuild the others again."""

from collections.abc import Set
from dataclasses import dataclass, replace

from aisys.errors import CannotApply, unknown_name
from aisys.ir import Block, Graph, Op, kept_for_backward, verify
from aisys.plan.space import PlanSpace

MODES = ("none", "selective", "op", "full")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recompute:
    """Keep only some activations of each layer; backward runs the ops again that rebuild the rest.

    mode: none; selective (drop what spans queries and keys, Korthikanti et al. 2022, section 5); op (keep the results
    of attention and of every second matmul, rebuild everything else: the selective checkpoints of torchtitan, Liang et
    al. 2024); full (keep the layer's input, Chen et al. 2016). Embedding and head blocks, which do not repeat, are left
    as they are.
    stops_early: full recomputation ends where all that backward needs is there, as torch's does; Megatron-LM's runs
    the layer to its end.
    Raises CannotApply where the graph does not train.
    """

    mode: str = "full"
    stops_early: bool = True

    def apply(self, graph: Graph) -> Graph:
        """The graph with fewer saved tensors and a recompute phase."""
        if self.mode not in MODES:
            raise unknown_name("recompute mode", self.mode, MODES)
        if not any(b.saved for b in graph.blocks):
            raise CannotApply(f"recompute: {graph.name!r} saves nothing; apply TrainingStep first")
        ends = {graph.segments[0].block, graph.segments[-1].block}
        return verify(graph.map_blocks({b: b if b in ends else self._recompute(b) for b in graph.blocks}))

    def constrain(self, space: PlanSpace) -> PlanSpace:
        """Only plans with this recomputation."""
        return space.narrow(recompute=(self.mode,))

    def _recompute(self, block: Block) -> Block:
        kept = self._kept(block)
        wanted = set(block.saved) - kept
        if not wanted:
            return block
        forward = [op for op in block.ops if op.phase == "forward"]
        reruns_all = self.mode == "full" and not self.stops_early
        again = forward if reruns_all else _slice(forward, wanted, kept | set(block.inputs))
        copies = [replace(op, name=f"{op.name}.again", phase="recompute") for op in again]
        first = next(i for i, op in enumerate(block.ops) if op.phase.endswith("gradient"))
        rebuilt = replace(block, ops=(*block.ops[:first], *copies, *block.ops[first:]))
        return replace(rebuilt, saved=kept_for_backward(rebuilt))

    def _kept(self, block: Block) -> Set[str]:
        saved = set(block.saved)
        if self.mode == "none":
            return saved
        if self.mode == "selective":
            return {n for n in saved if not {"token", "key"} <= set(block.tensors[n].axes)}
        if self.mode == "full":
            return set(block.inputs)
        forward = [op for op in block.ops if op.phase == "forward"]
        matmuls = [op for op in forward if op.kind in ("matmul", "grouped_matmul")]
        return {n for op in forward if op.kind == "attention" or op in matmuls[::2] for n in op.writes}


def _slice(forward: list[Op], wanted: Set[str], given: Set[str]) -> list[Op]:
    """The forward ops, in order, that rebuild `wanted` from `given`."""
    needed, chosen = set(wanted), []
    for op in reversed(forward):
        if needed & set(op.writes):
            chosen.append(op)
            needed = (needed - set(op.writes)) | (set(op.reads) - given)
    return chosen[::-1]
