"""The contract of a microbatch schedule."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from aisys.errors import BadInput, CannotApply
from aisys.lower.pipeline import PipelineTimes, program
from aisys.lower.schedule import Order, Slots
from aisys.sim import run
from aisys.testing.contract import ContractBroken, require

Shape = tuple[int, int, int]
"""num_stages, num_microbatches, interleave."""

MostInFlight = Callable[[int, int, int, int], int]

_SHAPES: tuple[Shape, ...] = tuple(
    (stages, microbatches, interleave)
    for stages in (1, 2, 3, 4, 8)
    for microbatches in (1, 2, 3, 4, 8, 16)
    for interleave in (1, 2, 3)
)


def check_schedule(order: Order, *, most_in_flight: MostInFlight | None = None) -> None:
    """Raises ContractBroken unless `order` is a schedule, for every pipeline shape that it accepts.

    On every stage each chunk of each microbatch runs forward once and backward once, forward first; two calls give
    the same slots; the pipeline of all stages ends, whatever its times; no stage holds more chunk activations than
    `most_in_flight(stage, num_stages, num_microbatches, interleave)`, by default all. A shape that `order` refuses
    with CannotApply is passed over; interleave=1 must be accepted for some shape.
    """
    accepted = list(_accepted(order))
    require(any(shape[2] == 1 for shape, _ in accepted), "the schedule refuses every shape with interleave=1")
    for shape, table in accepted:
        for stage, slots in enumerate(table):
            _check_stage(slots, stage, shape)
        _check_pipeline(table, shape, most_in_flight or _everything)


def _accepted(order: Order) -> Iterator[tuple[Shape, Slots]]:
    """Each accepted shape with the slots of all its stages, array [stages, slots, 3]."""
    for shape in _SHAPES:
        try:
            first, second = ([np.asarray(order(stage, *shape)) for stage in range(shape[0])] for _ in range(2))
        except CannotApply:
            continue
        for stage, (one, other) in enumerate(zip(first, second, strict=True)):
            where = _where(stage, shape)
            expected = (2 * shape[1] * shape[2], 3)
            require(one.shape == expected, f"{where}: slots have shape {one.shape}; give {expected}")
            require(one.dtype.kind in "iu", f"{where}: slots are {one.dtype}; give integers")
            require(bool((one == other).all()), f"{where}: two calls give different slots")
        yield shape, np.stack(first).astype(np.int64)


def _check_stage(slots: Slots, stage: int, shape: Shape) -> None:
    where = _where(stage, shape)
    position: dict[tuple[int, int, int], int] = {}
    for place, (is_backward, chunk, microbatch) in enumerate(slots.tolist()):
        direction = "backward" if is_backward else "forward"
        task = f"{direction} of chunk {chunk}, microbatch {microbatch}"
        is_known = is_backward in (0, 1) and 0 <= chunk < shape[2] and 0 <= microbatch < shape[1]
        require(is_known, f"{where}: slot {place} is {[is_backward, chunk, microbatch]}, which is no task of it")
        require((is_backward, chunk, microbatch) not in position, f"{where}: {task} runs twice")
        position[is_backward, chunk, microbatch] = place
        has_input = not is_backward or (0, chunk, microbatch) in position
        require(has_input, f"{where}: {task} runs before its forward")


def _check_pipeline(table: Slots, shape: Shape, most_in_flight: MostInFlight) -> None:
    stages, microbatches, interleave = shape
    rng = np.random.default_rng(stages * 1000 + microbatches * 10 + interleave)
    held = np.cumsum(1 - 2 * table[:, :, 0], axis=1).max(axis=1)
    times = _times(rng, shape)
    try:
        timeline = run(program(times, table))
    except BadInput as error:
        raise ContractBroken(f"{_where(None, shape)}: the pipeline never ends: {error}") from None
    peak = timeline.peak_bytes(stages)
    for stage in range(stages):
        allowed = most_in_flight(stage, *shape)
        where = _where(stage, shape)
        require(int(held[stage]) <= allowed, f"{where}: {held[stage]} chunk activations are held; at most {allowed}")
        require(
            int(peak[stage]) <= int(held[stage]), f"{where}: the engine holds {peak[stage]}, the slots {held[stage]}"
        )


def _times(rng: np.random.Generator, shape: Shape) -> PipelineTimes:
    """Arbitrary times; each chunk activation is one byte, so that bytes count activations."""
    stages, microbatches, interleave = shape
    virtual = stages * interleave

    def some(count: int) -> NDArray[np.int64]:
        return rng.integers(1, 1000, count)

    return PipelineTimes(
        num_stages=stages, num_microbatches=microbatches, schedule="", forward_ps=some(virtual),
        backward_ps=some(virtual), send_forward_ps=some(virtual), send_backward_ps=some(virtual),
        saved_bytes=np.ones(virtual, np.int64), gradients_ps=some(stages), optimizer_ps=some(stages),
    )  # fmt: skip


def _everything(stage: int, num_stages: int, num_microbatches: int, interleave: int) -> int:
    return num_microbatches * interleave


def _where(stage: int | None, shape: Shape) -> str:
    place = "" if stage is None else f"stage {stage} of "
    return f"{place}{shape[0]} stages, {shape[1]} microbatches, interleave {shape[2]}"
