"""Every collective keeps its contract, and the kit finds algorithms that do not."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from aisys import plugins
from aisys.collective import ClosedForm, Send
from aisys.collective.algorithm.double_binary_tree_all_reduce import DoubleBinaryTreeAllReduce
from aisys.collective.algorithm.hierarchical_all_reduce import HierarchicalAllReduce
from aisys.collective.algorithm.hierarchical_all_to_all import HierarchicalAllToAll
from aisys.collective.algorithm.ring_all_reduce import RingAllReduce
from aisys.collective.algorithm.ring_broadcast import RingBroadcast
from aisys.collective.algorithm.switch_all_reduce import SwitchAllReduce
from aisys.testing import ContractBroken, check_collective


@pytest.mark.parametrize("name", plugins.names("collective"))
def test_every_algorithm_gives_each_contribution_once(name: str) -> None:
    check_collective(plugins.find("collective", name)())


@pytest.mark.parametrize("pieces", [1, 2, 3, 16])
def test_pipelined_algorithms_hold_for_any_number_of_pieces(pieces: int) -> None:
    for algorithm in (DoubleBinaryTreeAllReduce(pieces), SwitchAllReduce(pieces), RingBroadcast(pieces)):
        check_collective(algorithm)


@pytest.mark.parametrize("ranks_per_node", [1, 2, 3, 5, 8])
def test_hierarchical_algorithms_hold_for_any_node(ranks_per_node: int) -> None:
    num_ranks = tuple(ranks_per_node * nodes for nodes in (1, 2, 3, 4))
    check_collective(HierarchicalAllReduce(ranks_per_node), (*num_ranks, 7))
    check_collective(HierarchicalAllToAll(ranks_per_node), (*num_ranks, 7))


@dataclass(frozen=True)
class Broken:
    """The ring, with its sends changed by a fault."""

    fault: str
    op: str = "all_reduce"

    def num_chunks(self, num_ranks: int) -> int:
        return num_ranks

    def sends(self, num_ranks: int) -> Iterator[Send]:
        for send in RingAllReduce().sends(num_ranks):
            if self.fault == "adds twice" and not send.reduce:
                yield send._replace(reduce=True)
            elif self.fault == "forgets" and send.step == 2 * num_ranks - 3 and send.src == 0:
                continue
            elif self.fault == "out of range":
                yield send._replace(dst=send.dst + num_ranks)
            elif self.fault == "to itself":
                yield send._replace(dst=send.src)
            elif self.fault == "never adds":
                yield send._replace(reduce=False)
            else:
                yield send

    def closed_form(self, num_ranks: int) -> ClosedForm:
        form = RingAllReduce().closed_form(num_ranks)
        steps = form.num_steps + (self.fault == "hides a step")
        return ClosedForm(num_steps=steps, wire_share=form.wire_share * (1.1 if self.fault == "sends more" else 1))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("adds twice", "a second time"), ("forgets", "ends with contributions"), ("out of range", "is out of range"),
        ("to itself", "is out of range"), ("never adds", "ends with contributions"),
        ("hides a step", r"the closed form has \d+ steps"), ("sends more", "through the busiest port"),
    ],
)  # fmt: skip
def test_a_broken_ring_is_found(fault: str, message: str) -> None:
    with pytest.raises(ContractBroken, match=message):
        check_collective(Broken(fault))


def test_a_sound_copy_of_the_ring_passes() -> None:
    check_collective(Broken("nothing"))


def test_an_op_without_meaning_is_refused() -> None:
    with pytest.raises(ContractBroken, match="op is 'gossip'"):
        check_collective(Broken("nothing", op="gossip"))


def test_an_algorithm_that_accepts_no_group_is_refused() -> None:
    with pytest.raises(ContractBroken, match="refuses every number of ranks"):
        check_collective(HierarchicalAllReduce(ranks_per_node=11))


@dataclass(frozen=True)
class TwoWriters:
    """Rank 1 and rank 2 both hand rank 0's buffer to rank 3 in one step."""

    op: str = "broadcast"

    def num_chunks(self, num_ranks: int) -> int:
        return 1

    def sends(self, num_ranks: int) -> Iterator[Send]:
        yield from (Send(0, 0, 1, 0, False), Send(1, 0, 2, 0, False), Send(2, 1, 3, 0, False), Send(2, 2, 3, 0, False))

    def closed_form(self, num_ranks: int) -> ClosedForm:
        return ClosedForm(num_steps=3, wire_share=4)


def test_two_writers_of_one_chunk_in_one_step_are_found() -> None:
    with pytest.raises(ContractBroken, match="another send of this step writes too"):
        check_collective(TwoWriters(), (4,))
