"""What a technique, an op rule or a sharding promises about numbers, proved by running small graphs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

import numpy as np

from aisys.frozen import FrozenMap
from aisys.ir import Graph, Op, gradient_name
from aisys.plan import Degrees
from aisys.testing.contract import ContractBroken, require
from aisys.testing.execution.call import Array
from aisys.testing.execution.device import Execution, execute
from aisys.testing.execution.mesh import execute_sharded
from aisys.testing.execution.numbers import Numbers, draw, layer_key

SAME, SMALL = 1e-9, 1e-3
"""Largest difference between sums of double precision taken in another order, relative to the largest element, or to
SMALL where all are smaller (biases of keys have gradient zero)."""

STEP, SLOPE = 1e-6, 1e-5
"""Step of a central difference, and the largest relative difference that its rounding and curvature leave."""


def check_technique_executes(
    apply: Callable[[Graph], Graph], graph: Graph, *, degrees: Iterable[Degrees] = (), seed: int = 0
) -> None:
    """Raises ContractBroken unless `apply(graph)` really computes what `graph` computes; `graph` must be small.

    Outputs of the same names are equal, and where both train, all gradients and updated weights. A graph that trains
    has the gradients that differences give, and keeps from forward exactly what backward reads. Cut by each of
    `degrees`, the ranks together compute the same.
    """
    after = apply(graph)
    numbers = _same_numbers(after, graph, seed)
    first, second = execute(graph, draw(graph, seed)), execute(after, numbers)
    for name in first.outputs.keys() & second.outputs.keys():
        _require_same(f"output {name!r}", first.outputs[name], second.outputs[name])
    if trains(graph):
        _require_equal(first, second)
    if trains(after):
        check_gradients(after, seed=seed)
        check_kept(after, seed=seed)
    for one in degrees:
        check_sharding_executes(after, one, seed=seed)


def check_sharding_executes(graph: Graph, degrees: Degrees, *, seed: int = 0) -> None:
    """Raises ContractBroken unless the ranks of a mesh, each running its share of `graph`, compute what one does.

    Outputs, gradients and updated weights are equal; every rank holds what it reads; local extents, bytes kept for
    backward and the bytes of every transfer are those that the plan counts.
    """
    numbers = draw(graph, seed)
    _require_equal(execute(graph, numbers), execute_sharded(graph, degrees, numbers))


def check_gradients(graph: Graph, *, seed: int = 0) -> None:
    """Raises ContractBroken unless the gradient of every weight is the slope of the loss along a random direction."""
    numbers = draw(graph, seed)
    forward = graph.map_blocks({b: replace(b, ops=_forward(b.ops), saved=()) for b in graph.blocks})
    found = execute(graph, numbers).gradients
    rng = np.random.default_rng(seed)
    for key, weight in numbers.weights.items():
        direction = rng.normal(size=weight.shape)
        ends = [_loss(forward, numbers, {key: weight + sign * STEP * direction}) for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * STEP)
        ours = float((found[key] * direction).sum()) if key in found else 0.0
        scale = max(abs(slope), abs(ours), SMALL)
        require(abs(slope - ours) <= SLOPE * scale, f"{graph.name}: gradient of {key!r} is {ours:g}, not {slope:g}")


def check_kept(graph: Graph, *, seed: int = 0) -> None:
    """Raises ContractBroken unless backward runs from the saved tensors alone, and needs every one of them."""
    numbers = draw(graph, seed)
    execute(graph, numbers)
    for block in graph.blocks:
        for name in block.saved:
            is_needed = False
            try:
                execute(graph, numbers, forgotten={(block.name, name)})
            except ContractBroken:
                is_needed = True
            require(is_needed, f"{graph.name}: block {block.name!r} saves {name!r}, which backward never reads")


def trains(graph: Graph) -> bool:
    """Whether the graph has gradients."""
    return any(op.phase.endswith("gradient") for block in graph.blocks for op in block.ops)


def _forward(ops: Sequence[Op]) -> tuple[Op, ...]:
    """The forward pass, after the copies of weights that it reads."""
    copies = tuple(takewhile(lambda op: op.phase == "optimizer", ops))
    return (*copies, *(op for op in ops if op.phase == "forward"))


def _loss(graph: Graph, numbers: Numbers, changed: Mapping[str, Array]) -> float:
    """The outputs, weighted by the gradient that backward starts from."""
    outputs = execute(graph, replace(numbers, weights=FrozenMap({**numbers.weights, **changed}))).outputs
    last = len(graph.layers) - 1
    return sum(float((o * numbers.given[layer_key(last, gradient_name(n))]).sum()) for n, o in outputs.items())


def _same_numbers(graph: Graph, like: Graph, seed: int) -> Numbers:
    """Numbers for `graph`, those of `like` where both have a tensor."""
    own, other = draw(graph, seed), draw(like, seed)
    kept = {key: value for key, value in other.given.items() if key in own.given}
    return Numbers(weights=FrozenMap({**own.weights, **other.weights}), given=FrozenMap({**own.given, **kept}))


def _require_equal(first: Execution, second: Execution) -> None:
    for what, one, other in _parts(first, second):
        missing = one.keys() ^ other.keys()
        require(not missing, f"{what} of {sorted(missing)} is there only once")
        for name, value in one.items():
            _require_same(f"{what} {name!r}", value, other[name])


def _parts(first: Execution, second: Execution) -> Iterator[tuple[str, Mapping[str, Array], Mapping[str, Array]]]:
    yield "output", first.outputs, second.outputs
    yield "gradient", first.gradients, second.gradients
    yield "updated weight", first.weights, second.weights


def _require_same(what: str, one: Array, other: Array) -> None:
    require(one.shape == other.shape, f"{what} has shape {other.shape}, not {one.shape}")
    worst = float(np.abs(one - other).max()) / max(float(np.abs(one).max()), SMALL)
    require(worst <= SAME, f"{what} differs by {worst:.2g} of its largest element")
