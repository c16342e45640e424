"""What an optimizer does to one weight, on arrays."""

import numpy as np

from aisys.errors import Unsupported
from aisys.testing.execution.call import Array, Call

RATE, DECAY, SQUARE_DECAY, SMALL = 0.01, 0.9, 0.95, 1e-3
"""Learning rate, decays and epsilon of a first step: no law depends on them, and this epsilon blows up no rounding."""


def optimizer(call: Call) -> tuple[Array, ...]:
    """The weight and its states after one step; reads are the gradient, the states, and the weight without a master."""
    op = call.op
    weight = op.writes[0]
    given = {name.removesuffix(f".{weight}"): value for name, value in zip(op.reads, call.values, strict=True)}
    gradient, states = given.pop("d"), dict(given)
    step = {"adam": _adam, "sgd": _sgd, "momentum": _momentum}.get(call.function)
    if step is None:
        raise Unsupported(f"op {op.name!r} is optimizer {call.function!r}; known here: adam, sgd, momentum")
    before = states.get("master", states.get(weight))
    assert before is not None, f"{op.name} reads no copy of {weight!r}"
    after = before - RATE * step(gradient, states)
    states["master"] = states[weight] = after
    return tuple(states[name.removesuffix(f".{weight}")] for name in op.writes)


def _adam(gradient: Array, states: dict[str, Array]) -> Array:
    states["exp_avg"] = DECAY * states["exp_avg"] + (1 - DECAY) * gradient
    states["exp_avg_sq"] = SQUARE_DECAY * states["exp_avg_sq"] + (1 - SQUARE_DECAY) * gradient**2
    mean, square = states["exp_avg"] / (1 - DECAY), states["exp_avg_sq"] / (1 - SQUARE_DECAY)
    return np.asarray(mean / (np.sqrt(square) + SMALL))


def _sgd(gradient: Array, states: dict[str, Array]) -> Array:
    return gradient


def _momentum(gradient: Array, states: dict[str, Array]) -> Array:
    states["momentum"] = DECAY * states["momentum"] + gradient
    return states["momentum"]
