"""A block while it is being written."""

from collections.abc import Iterable, Mapping

from aisys.frozen import FrozenMap
from aisys.ir.dtype import DTYPES, DType
from aisys.ir.graph import Block, Op, Option, Role, Tensor

NO_OPTIONS: Mapping[str, Option] = {}
STREAM = "batch token hidden"
"""Axes of the residual stream."""


class Draft:
    """Collects the tensors and ops of one block; tensors are declared by axis names whose extents it knows.

    >>> draft = Draft("layer", {"batch": 1, "token": 8, "hidden": 4, "ffn": 16}, DTYPES["bf16"])
    >>> draft.linear("up", draft.tensor("x", "batch token hidden"), "hidden ffn", "batch token ffn")
    'up'
    >>> dict(draft.block(("x",), ("up",)).ops[0].space)
    {'batch': 1, 'token': 8, 'hidden': 4, 'ffn': 16}
    """

    def __init__(self, name: str, extents: Mapping[str, int], dtype: DType) -> None:
        self.name, self.extents, self.dtype = name, extents, dtype
        self._tensors: dict[str, Tensor] = {}
        self._ops: list[Op] = []

    def tensor(self, name: str, axes: str, role: Role = "activation", dtype: DType | None = None) -> str:
        """Declares a tensor with these axes, outermost first, and gives back its name."""
        extents = {axis: self.extents[axis] for axis in axes.split()}
        self._tensors[name] = Tensor(name, FrozenMap(extents), dtype or self.dtype, role)
        return name

    def weight(self, name: str, axes: str) -> str:
        """Declares a weight."""
        return self.tensor(name, axes, "weight")

    def index(self, name: str, axes: str) -> str:
        """Declares integers that select: token ids, positions, chosen experts."""
        return self.tensor(name, axes, "index", DTYPES["int64"])

    def axes(self, name: str) -> str:
        """The axes of a declared tensor, as they were written."""
        return " ".join(self._tensors[name].axes)

    def op(
        self, kind: str, reads: Iterable[str], writes: Iterable[str], options: Mapping[str, Option] = NO_OPTIONS,
        *, over: str = "",
    ) -> str:  # fmt: skip
        """Adds an op, named after its first output; its space is `over`, or every axis that its tensors have."""
        reads, writes = tuple(reads), tuple(writes)
        names = over.split() or [axis for name in (*reads, *writes) for axis in self._tensors[name].axes]
        space = {axis: self.extents[axis] for axis in names}
        self._ops.append(
            Op(name=writes[0], kind=kind, space=FrozenMap(space), reads=reads, writes=writes,
               options=FrozenMap(options))
        )  # fmt: skip
        return writes[0]

    def linear(
        self,
        out: str,
        x: str,
        weight_axes: str,
        out_axes: str,
        *,
        module: str = "",
        bias_axes: str = "",
        fuse: str = "",
    ) -> str:
        """`out` = x times the weight of `module` (default: named after `out`), plus a bias where bias_axes are given.

        Ops with one `fuse` label run as one kernel, their output axes side by side.
        """
        module = module or out
        reads = [x, self.weight(f"{module}.weight", weight_axes)]
        if bias_axes:
            reads.append(self.weight(f"{module}.bias", bias_axes))
        options: dict[str, Option] = {"fuse": fuse, "fuse_dim": "n"} if fuse else {}
        kind = "grouped_matmul" if "expert" in weight_axes.split() and "expert" not in out_axes.split() else "matmul"
        return self.op(kind, reads, [self.tensor(out, out_axes)], options)

    def pointwise(self, kind: str, out: str, reads: Iterable[str], function: str = "") -> str:
        """Adds an op whose output has the axes of its first input."""
        reads = tuple(reads)
        options: dict[str, Option] = {"function": function} if function else {}
        return self.op(kind, reads, [self.tensor(out, self.axes(reads[0]))], options)

    def dropout(self, x: str, rate: float) -> str:
        """`x` after dropout at `rate`, or x itself at rate 0; backward keeps the byte mask."""
        if rate == 0:
            return x
        out = self.tensor(f"{x}.dropped", self.axes(x))
        mask = self.tensor(f"{x}.mask", self.axes(x), dtype=DTYPES["mask8"])
        return self.op("dropout", [x], [out, mask], {"rate": rate})

    @property
    def last_output(self) -> str:
        """The first output of the op added last."""
        return self._ops[-1].writes[0]

    def rename_last(self, name: str) -> str:
        """Gives the last op's first output another name: the residual stream leaves a block as `y`."""
        last = self._ops[-1]
        old = self._tensors.pop(last.writes[0])
        self._tensors[name] = Tensor(name, old.axes, old.dtype, old.role)
        writes = (name, *last.writes[1:])
        self._ops[-1] = Op(
            name=name, kind=last.kind, space=last.space, reads=last.reads, writes=writes, options=last.options
        )
        return name

    def block(self, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Block:
        """The finished block."""
        return Block(
            name=self.name, tensors=FrozenMap(self._tensors), ops=tuple(self._ops), inputs=inputs, outputs=outputs
        )
