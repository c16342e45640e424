"""How gradient ops and gradient tensors are made from the forward ops and tensors that they belong to."""

from collections.abc import Mapping
from typing import Any

from aisys.frozen import FrozenMap
from aisys.ir.graph import Op, Option, ProgramPhase


def gradient_name(tensor: str) -> str:
    """The name of a tensor's gradient."""
    return f"d.{tensor}"


def derived(
    op: Op, phase: ProgramPhase, reads: tuple[str, ...], writes: tuple[str, ...], options: Mapping[str, Any],
    *, suffix: str = "input",
) -> Op:  # fmt: skip
    """A gradient op of `op` of its own kind over its own space."""
    return Op(
        name=f"{op.name}.d_{suffix}", kind=op.kind, space=op.space, reads=reads, writes=writes, phase=phase,
        options=FrozenMap(options),
    )  # fmt: skip


def stream_op(
    op: Op, kind: str, phase: ProgramPhase, reads: tuple[str, ...], writes: tuple[str, ...], function: str = ""
) -> Op:
    """A streaming gradient op of `op`, which says what it differentiates where `function` is given."""
    kept = {name: value for name, value in op.options.items() if name not in ("fuse", "fuse_dim", "math")}
    if function and "function" in kept:
        kept["derivative_of"] = kept["function"]
    options: FrozenMap[str, Option] = FrozenMap({**kept, "function": function} if function else kept)
    name = f"{op.name}.d_{'bias' if kind == 'reduce' else 'input'}"
    return Op(name=name, kind=kind, space=op.space, reads=reads, writes=writes, phase=phase, options=options)
