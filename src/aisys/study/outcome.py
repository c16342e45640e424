"""What a study gives: each published quantity beside ours."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One published quantity. tolerance: allowed relative difference, and why is said in the study's text.

    is_calibration: whether the published value was used to set a parameter of ours.
    """

    quantity: str
    ours: float
    published: float
    tolerance: float
    is_calibration: bool = False

    @property
    def ratio(self) -> float:
        """Ours over published."""
        return self.ours / self.published

    @property
    def is_ok(self) -> bool:
        """Whether ours is within the tolerance."""
        return abs(self.ratio - 1.0) <= self.tolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A study's result. free_parameters: how many of our numbers were set from its rows.

    sensitivity: assumed constant to the largest relative move of a row when the constant moves by 20 %.
    """

    name: str
    source: str
    rows: tuple[Row, ...]
    free_parameters: int = 0
    sensitivity: tuple[tuple[str, float], ...] = ()

    @property
    def passed(self) -> bool:
        """All rows within tolerance, and more rows that no parameter saw than parameters."""
        unseen = [row for row in self.rows if not row.is_calibration]
        return all(row.is_ok for row in self.rows) and len(unseen) > self.free_parameters

    def as_dict(self) -> dict[str, Any]:
        """The document of `aisys study --json`."""
        return {
            "name": self.name, "source": self.source, "passed": self.passed, "free_parameters": self.free_parameters,
            "rows": [
                {"quantity": r.quantity, "ours": r.ours, "published": r.published, "ratio": r.ratio,
                 "tolerance": r.tolerance, "ok": r.is_ok, "used_for_calibration": r.is_calibration}
                for r in self.rows
            ],
            "sensitivity": dict(self.sensitivity),
        }  # fmt: skip
