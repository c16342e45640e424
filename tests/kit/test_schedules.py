"""Every schedule keeps its contract, and the kit finds schedules that do not."""

import numpy as np
import pytest

from aisys import plugins
from aisys.lower.memory import in_flight
from aisys.lower.schedule import Slots, schedule
from aisys.lower.schedule.gpipe import order as gpipe
from aisys.lower.schedule.one_f_one_b import order as one_f_one_b
from aisys.testing import ContractBroken, check_schedule


@pytest.mark.parametrize("name", plugins.names("schedule"))
def test_every_schedule_keeps_its_contract(name: str) -> None:
    check_schedule(plugins.find("schedule", name))


def test_one_forward_one_backward_holds_at_most_one_activation_per_later_stage() -> None:
    check_schedule(one_f_one_b, most_in_flight=lambda stage, stages, m, v: min(m, stages - stage))
    with pytest.raises(ContractBroken, match=r"4 chunk activations are held; at most 3"):
        check_schedule(gpipe, most_in_flight=lambda stage, stages, m, v: 3)


@pytest.mark.parametrize("interleave", [1, 2, 4])
@pytest.mark.parametrize("name", ["1f1b", "gpipe"])
def test_the_memory_model_holds_what_the_slots_hold(name: str, interleave: int) -> None:
    for stages, microbatches in ((1, 4), (2, 2), (4, 8), (4, 16)):
        order = schedule(name, interleave)
        slots = np.stack([order(s, stages, microbatches, interleave) for s in range(stages)])
        held = np.cumsum(1 - 2 * slots[:, :, 0], axis=1).max(axis=1)
        assert in_flight(name, stages, microbatches, interleave).tolist() == held.tolist()


def twice(stage: int, stages: int, microbatches: int, interleave: int) -> Slots:
    slots = gpipe(stage, stages, microbatches, interleave)
    slots[0] = slots[-1]
    return slots


def backward_first(stage: int, stages: int, microbatches: int, interleave: int) -> Slots:
    return gpipe(stage, stages, microbatches, interleave)[::-1]


def unsteady() -> object:
    rng = np.random.default_rng(0)

    def order(stage: int, stages: int, microbatches: int, interleave: int) -> Slots:
        slots = gpipe(stage, stages, microbatches, interleave)
        half = len(slots) // 2
        return np.concatenate([rng.permutation(slots[:half]), slots[half:]])

    return order


def too_few(stage: int, stages: int, microbatches: int, interleave: int) -> Slots:
    return gpipe(stage, stages, microbatches, interleave)[:-1]


def floating(stage: int, stages: int, microbatches: int, interleave: int) -> object:
    return gpipe(stage, stages, microbatches, interleave) * 1.0


def out_of_order(stage: int, stages: int, microbatches: int, interleave: int) -> Slots:
    """Stage 0 sends microbatches last to first, and waits for the first one's gradient before the rest."""
    slots = gpipe(stage, stages, microbatches, interleave)
    if stage == 0 and stages > 1 and microbatches > 1:
        half = len(slots) // 2
        return np.concatenate([slots[:1], slots[-1:], slots[1:half], slots[half:-1]])
    return slots


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (twice, "runs before its forward"),
        (backward_first, "runs before its forward"),
        (unsteady(), "two calls give different slots"),
        (too_few, "slots have shape"),
        (floating, "give integers"),
        (out_of_order, "the pipeline never ends"),
    ],
)
def test_a_broken_schedule_is_found(order: object, said: str) -> None:
    with pytest.raises(ContractBroken, match=said):
        check_schedule(order)
