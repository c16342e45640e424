"""Weights as integers with a shared scale per group: priced as bytes, and really rounded."""

from collections.abc import Mapping, Set
from copy import deepcopy
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from importlib import import_module
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.errors import BadInput, CannotApply, MissingExtra
from aisys.ir import Block, Graph, Op, Tensor, verify
from aisys.kernel import integer_codec
from aisys.kernel.integer_codec import Packed


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightQuantization:
    """Store matmul weights in `bits` with one fp16 scale per `group` elements of the reduction axes.

    group 0: one scale per output channel. is_symmetric False adds a zero point of `bits` per group. keep: patterns of
    tensor names that stay as they are; a weight that anything but a matmul reads stays too (tied embeddings).
    Rounds to nearest. Changes bytes, not flop: the device multiplies in the activation's format.
    Source: Frantar et al. 2023 (GPTQ), its round-to-nearest baseline. Raises CannotApply where groups do not divide.
    """

    bits: int = 4
    group: int = 128
    is_symmetric: bool = True
    keep: tuple[str, ...] = ("*lm_head*", "*embedding*")

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise CannotApply(f"weight_quantization: bits={self.bits}; use 2 to 8")
        if self.group < 0:
            raise CannotApply(f"weight_quantization: group={self.group}; use 0 (a whole channel) or a positive number")

    def apply(self, graph: Graph) -> Graph:
        """The same ops over weights in the packed format."""
        if any(op.phase != "forward" for block in graph.blocks for op in block.ops):
            raise CannotApply(f"weight_quantization: {graph.name!r} trains; rounded weights have no gradient")
        elsewhere = {n for b in graph.blocks for op in b.ops for n in op.reads if _weight_of(op, b) is None}
        changed = {block: self._change(block, elsewhere) for block in graph.blocks}
        if changed == {block: block for block in graph.blocks}:
            raise CannotApply(f"weight_quantization: {graph.name!r} has no matmul weight that keep={self.keep} lets go")
        return verify(graph.map_blocks(changed))

    def emulate(self, model: Any) -> Any:
        """`model` with its weights rounded as `apply` prices them; `model` itself stays as it was.

        model: arrays by name, the reduction axis last, or a torch module, whose Linear layers are rounded in a copy.
        """
        if isinstance(model, Mapping):
            return {name: self._rounded(name, array) for name, array in model.items()}
        return self._rounded_module(model)

    def pack(self, name: str, array: NDArray[Any]) -> Packed:
        """One weight as it is stored, the reduction axis last."""
        try:
            return integer_codec.pack(name, array, bits=self.bits, group=self.group, is_symmetric=self.is_symmetric)
        except (CannotApply, BadInput) as error:
            raise type(error)(f"weight_quantization: {error}") from error

    def _rounded(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        if self._is_kept(name):
            return array
        return self.pack(name, array).unpack().astype(np.asarray(array).dtype)

    def _rounded_module(self, model: Any) -> Any:
        torch = _torch(model)
        copy = deepcopy(model)
        linear = {name: m for name, m in copy.named_modules() if isinstance(m, torch.nn.Linear)}
        others = (m for m in copy.modules() if not isinstance(m, torch.nn.Linear))
        tied = {id(p) for m in others for p in m.parameters(recurse=False)}
        changed = {f"{name}.weight": m for name, m in linear.items() if id(m.weight) not in tied}
        if not changed:
            raise CannotApply(f"weight_quantization: {type(model).__name__} has no Linear layer of its own")
        for name, module in changed.items():
            rounded = self._rounded(name, module.weight.detach().float().cpu().numpy())
            module.weight.data = torch.from_numpy(rounded).to(module.weight)
        return copy

    def _is_kept(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.keep)

    def _change(self, block: Block, elsewhere: Set[str]) -> Block:
        found: dict[str, Tensor] = {}
        for op in block.ops:
            weight = _weight_of(op, block)
            if weight is not None and weight.name not in elsewhere and not self._is_kept(weight.name):
                found[weight.name] = self._stored(weight, op, block)
        return block.with_tensors(found) if found else block

    def _stored(self, weight: Tensor, op: Op, block: Block) -> Tensor:
        other = block.tensors[op.reads[0]].axes
        reduced = [axis for axis in weight.axes if axis in other and axis not in block.tensors[op.writes[0]].axes]
        extent = prod(weight.axes[axis] for axis in reduced)
        dtype = integer_codec.format_of(self.bits, self.group or extent, self.is_symmetric)
        try:
            integer_codec.check_fits(weight.name, "*".join(reduced), extent, weight.num_elements // extent, dtype)
        except CannotApply as error:
            raise CannotApply(f"weight_quantization: {error}") from error
        return replace(weight, dtype=dtype)


def _weight_of(op: Op, block: Block) -> Tensor | None:
    """The weight that `op` multiplies its input with, or None."""
    if op.kind not in ("matmul", "grouped_matmul"):
        return None
    tensor = block.tensors[op.reads[1]]
    return tensor if tensor.role == "weight" else None


def _torch(model: Any) -> Any:
    """The torch module, where `model` is one of its modules."""
    try:
        torch = import_module("torch")
    except ImportError as error:
        raise MissingExtra("weight_quantization: rounding a torch module needs torch; pip install torch") from error
    if not isinstance(model, torch.nn.Module):
        raise BadInput(f"weight_quantization: {type(model).__name__} is neither arrays by name nor a torch module")
    return torch
