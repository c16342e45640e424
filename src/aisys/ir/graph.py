"""The workload: tensors over named axes, ops over iteration spaces, blocks that repeat. Knows no machine."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from math import prod
from typing import Literal

from aisys.frozen import FrozenMap
from aisys.ir.dtype import DTYPES, DType
from aisys.ir.record import AccessRecord

Role = Literal["weight", "activation", "gradient", "optimizer_state", "kv_cache", "index", "spike"]
ProgramPhase = Literal["forward", "recompute", "input_gradient", "weight_gradient", "optimizer"]
Option = int | float | str | bool


@dataclass(frozen=True, slots=True)
class Tensor:
    """`axes`: axis name to extent, outermost first."""

    name: str
    axes: FrozenMap[str, int]
    dtype: DType = DTYPES["bf16"]
    role: Role = "activation"

    def __post_init__(self) -> None:
        if not isinstance(self.axes, FrozenMap):
            object.__setattr__(self, "axes", FrozenMap(self.axes))

    @property
    def num_elements(self) -> int:
        return prod(self.axes.values())

    @property
    def num_bytes(self) -> float:
        """Stored bytes, scales and zero points included."""
        return self.dtype.num_bytes(self.num_elements)


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One operation over the iteration space `space` (axis to extent); `reads` and `writes` are tensor names.

    `options` holds what the kind needs beyond shapes (`ir/rules.py` documents them per kind).
    `record` is what a run on real data counted, where accesses depend on data.
    """

    name: str
    kind: str
    space: FrozenMap[str, int]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    phase: ProgramPhase = "forward"
    options: FrozenMap[str, Option] = field(default_factory=FrozenMap)
    record: AccessRecord | None = None

    def __post_init__(self) -> None:
        for name in ("space", "options"):
            value = getattr(self, name)
            if not isinstance(value, FrozenMap):
                object.__setattr__(self, name, FrozenMap(value))

    @property
    def flop(self) -> int:
        """Floating-point operations by the rule of this kind; 2 per multiply-add; masked parts counted."""
        from aisys.ir.rules import rule

        return rule(self.kind).flop(self)


@dataclass(frozen=True, kw_only=True)
class Block:
    """Ops in a valid order and the tensors they touch; `inputs` and `outputs` connect it to its neighbours.

    `saved`: the activations that are kept from forward to backward (empty outside training).
    """

    name: str
    tensors: FrozenMap[str, Tensor]
    ops: tuple[Op, ...]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    saved: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.tensors, FrozenMap):
            object.__setattr__(self, "tensors", FrozenMap(self.tensors))

    @cached_property
    def digest(self) -> str:
        """Content hash: equal for blocks that compute the same under the same names."""
        from aisys.ir.store import block_json

        return sha256(block_json(self).encode()).hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Block) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def with_tensors(self, changed: Mapping[str, Tensor]) -> "Block":
        """This block with some tensors replaced or added."""
        return replace(self, tensors=FrozenMap({**self.tensors, **changed}))

    def tensors_of(self, role: Role) -> Iterator[Tensor]:
        """The tensors that play `role`."""
        return (t for t in self.tensors.values() if t.role == role)

    @property
    def flop(self) -> int:
        """Flop of one repetition, all phases."""
        return sum(op.flop for op in self.ops)


@dataclass(frozen=True, slots=True)
class Segment:
    """`block`, `repeat` times in a row. Plans address single repetitions, called layers."""

    block: Block
    repeat: int = 1


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A workload as segments in execution order. `shared`: tensors that several blocks name and that exist once.

    `attributes`: what a reader knows about its source (architecture, head counts), for reports; never computed with.
    """

    name: str
    segments: tuple[Segment, ...]
    shared: frozenset[str] = frozenset()
    attributes: FrozenMap[str, Option] = field(default_factory=FrozenMap)

    @cached_property
    def digest(self) -> str:
        """Content hash of the whole graph."""
        parts = [f"{s.block.digest}*{s.repeat}" for s in self._merged()]
        return sha256("|".join([*parts, *sorted(self.shared)]).encode()).hexdigest()[:16]

    def _merged(self) -> list[Segment]:
        merged: list[Segment] = []
        for s in self.segments:
            if merged and merged[-1].block == s.block:
                merged[-1] = Segment(s.block, merged[-1].repeat + s.repeat)
            else:
                merged.append(s)
        return merged

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def layers(self) -> tuple[Block, ...]:
        """Every repetition of every segment, in execution order: what plans assign to stages."""
        return tuple(s.block for s in self.segments for _ in range(s.repeat))

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The distinct blocks, in order of first use."""
        return tuple(dict.fromkeys(s.block for s in self.segments))

    @property
    def flop(self) -> int:
        """Flop of the whole graph, all phases."""
        return sum(s.block.flop * s.repeat for s in self.segments)

    @property
    def num_parameters(self) -> int:
        """Elements of all weights; a shared weight counts once."""
        total = sum(t.num_elements for t in self._shared_tensors("weight").values())
        for s in self.segments:
            own = (t for t in s.block.tensors_of("weight") if t.name not in self.shared)
            total += s.repeat * sum(t.num_elements for t in own)
        return total

    def num_bytes(self, role: Role) -> float:
        """Stored bytes of all tensors that play `role`; a shared tensor counts once."""
        total = sum(t.num_bytes for t in self._shared_tensors(role).values())
        for s in self.segments:
            total += s.repeat * sum(t.num_bytes for t in s.block.tensors_of(role) if t.name not in self.shared)
        return total

    def _shared_tensors(self, role: Role) -> dict[str, Tensor]:
        return {t.name: t for b in self.blocks for t in b.tensors_of(role) if t.name in self.shared}

    def map_blocks(self, change: "Mapping[Block, Block]") -> "Graph":
        """The graph with each distinct block replaced by `change[block]`."""
        return replace(self, segments=tuple(Segment(change[s.block], s.repeat) for s in self.segments))

    def __str__(self) -> str:
        from aisys.ir.text import graph_text

        return graph_text(self)
