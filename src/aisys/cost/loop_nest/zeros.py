"""What hardware that looks for zeros saves in a loop nest: gating leaves out energy, skipping time as well.

A step whose looked-at operands hold a zero needs no multiplication, and none of the accesses of the innermost level
for it, but for those of the operand that is looked at: it is read as it is stored. Zeros of different operands are
taken to be independent. Tiles are fetched whole everywhere outside; formats say what they take (`Level.formats`).
Source: the terms of Wu et al. 2022, "Sparseloop"; gating as in Eyeriss (Chen et al. 2017), skipping as in EIE (Han et
al. 2016), which also waits for its slowest element (`aisys.kernel.interleaved_csc`); here nobody waits.
"""

from collections.abc import Mapping as Named
from dataclasses import dataclass
from math import prod
from typing import Literal

from aisys.cost.loop_nest.einsum import Einsum, Operand
from aisys.errors import BadInput, unknown_name

Saving = Literal["gate", "skip"]


@dataclass(frozen=True, slots=True)
class Zeros:
    """What the hardware does about the zeros of an operand.

    together: elements that are looked at as one, such as those of units in lockstep: only if all are zero is a step
    left out.
    """

    saving: Saving
    together: int = 1

    def __post_init__(self) -> None:
        if self.saving not in ("gate", "skip"):
            raise unknown_name("saving of zeros", self.saving, ("gate", "skip"))
        if self.together < 1:
            raise BadInput(f"zeros: {self.together} elements together; at least 1")


def read_zeros(text: str, lockstep: int) -> Zeros:
    """What `gate`, `skip` and `skip:4` mean: 4 elements that are looked at as one.

    Where no number is given, a unit gates by itself, and all `lockstep` units skip together.
    """
    saving, colon, number = text.partition(":")
    if saving not in ("gate", "skip"):
        raise unknown_name("saving of zeros", saving, ("gate", "skip"))
    if colon and not (number.isascii() and number.isdigit() and len(number) < 10):
        raise BadInput(f"zeros {text[:40]!r}: {number[:20]!r} is no whole number of elements; write {saving}:4")
    together = int(number) if colon else lockstep if saving == "skip" else 1
    return Zeros("skip" if saving == "skip" else "gate", together)


@dataclass(frozen=True, slots=True)
class Saved:
    """Of the dense steps, `done` multiply and `timed` take time; of an operand's innermost accesses likewise."""

    done: float
    timed: float


NOTHING = Saved(1.0, 1.0)


def saved(einsum: Einsum, zeros: Named[str, Zeros], operand: Operand | None = None) -> Saved:
    """Shares of the multiplications that are left, or of the innermost reads and updates of `operand`.

    zeros: by role of the operand that is looked at.
    """
    if not zeros or (operand is not None and operand.role in zeros):
        return NOTHING
    looked = [(one, zeros[one.role]) for one in einsum.operands if one.role in zeros]
    kept = [(1 - one.density.empty_share(looking.together), looking.saving) for one, looking in looked]
    return Saved(prod(share for share, _ in kept), prod(share for share, saving in kept if saving == "skip"))
