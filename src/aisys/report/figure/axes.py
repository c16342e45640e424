"""Axes of a figure: where values stand on the page, and the marks beside them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Self

from aisys.report.figure.drawing import MUTED, Drawing, Line, Text


def plain(value: float) -> str:
    """A mark's number without trailing zeros.

    >>> plain(10.0), plain(0.25), plain(12000.0)
    ('10', '0.25', '12,000')
    """
    return f"{value:,.6g}"


@dataclass(frozen=True, slots=True)
class Axis:
    """low, high: values at its two ends; is_log: equal factors are equally far apart; show: a mark's text."""

    title: str
    low: float
    high: float
    is_log: bool = False
    show: Callable[[float], str] = plain

    @classmethod
    def over(cls, title: str, values: Iterable[float]) -> Self:
        """A linear axis with a little room around `values`."""
        known = list(values)
        low, high = min(known), max(known)
        room = (high - low or abs(high) or 1.0) * 0.08
        return cls(title, max(0.0, low - room) if low >= 0 else low - room, high + room)

    def share(self, value: float) -> float:
        """0 at the low end, 1 at the high end."""
        if self.is_log:
            return (log10(value) - log10(self.low)) / (log10(self.high) - log10(self.low))
        return (value - self.low) / (self.high - self.low)

    def marks(self) -> list[float]:
        """Round values inside: decades, or four to eight steps of 1, 2 or 5."""
        if self.is_log:
            powers = range(ceil(log10(self.low) - 1e-9), floor(log10(self.high) + 1e-9) + 1)
            return [10.0**power for power in powers]
        raw = (self.high - self.low) / 5
        base = 10.0 ** floor(log10(raw))
        step = next(base * m for m in (1, 2, 5, 10) if base * m >= raw * 0.999)
        return [i * step for i in range(ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9) + 1)]


@dataclass(frozen=True, slots=True)
class Frame:
    """The inside of a plot on the page: its corners, and the axes along them."""

    left: float
    top: float
    right: float
    bottom: float
    x: Axis
    y: Axis

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place of a pair of values."""
        across = self.left + self.x.share(x) * (self.right - self.left)
        return across, self.bottom - self.y.share(y) * (self.bottom - self.top)

    def draw(self, drawing: Drawing) -> None:
        """Grid, marks and titles."""
        for value in self.x.marks():
            across = self.at(value, self.y.low)[0]
            drawing.add(Line(((across, self.top), (across, self.bottom))))
            drawing.add(Text(across, self.bottom + 13, self.x.show(value), "middle", MUTED))
        for value in self.y.marks():
            down = self.at(self.x.low, value)[1]
            drawing.add(Line(((self.left, down), (self.right, down))))
            drawing.add(Text(self.left - 5, down + 3, self.y.show(value), "end", MUTED))
        middle = (self.left + self.right) / 2, (self.top + self.bottom) / 2
        drawing.add(Text(middle[0], self.bottom + 29, self.x.title, "middle"))
        drawing.add(Text(12, middle[1], self.y.title, "middle", is_upright=True))
