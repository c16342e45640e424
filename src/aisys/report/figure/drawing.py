"""A figure as shapes on a page: what SVG and PDF both can say. Points of 1/72 inch, y grows downwards."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Anchor = Literal["start", "middle", "end"]
INK, MUTED, LINE = "#142033", "#59677c", "#d5dbe5"
FONT_POINTS = 9.0

_WIDTHS = (
    "278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556 556 278 278 "
    "584 584 584 556 1015 667 667 722 722 667 611 778 722 278 500 667 556 833 722 778 667 778 722 667 611 722 667 944 "
    "667 667 611 278 278 278 469 556 333 556 556 500 556 556 278 556 556 222 222 500 222 833 556 556 556 556 333 500 "
    "278 556 500 722 500 500 500 334 260 334 584"
)
_HELVETICA = dict(zip(map(chr, range(32, 127)), map(int, _WIDTHS.split()), strict=True))
"""Widths of Helvetica in thousandths of its size. Source: Adobe core 14 AFM, 1997 (Helvetica.afm)."""


def text_width(text: str, size: float = FONT_POINTS) -> float:
    """Width of `text` in Helvetica.

    >>> round(text_width("matmul", 10), 2)
    32.78
    """
    return sum(_HELVETICA.get(character, 556) for character in text) * size / 1000


@dataclass(frozen=True, slots=True)
class Line:
    """A polyline; dash: lengths of stroke and gap, () for none."""

    points: tuple[tuple[float, float], ...]
    colour: str = LINE
    width: float = 0.75
    dash: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle."""

    x: float
    y: float
    width: float
    height: float
    colour: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A filled circle with a thin white rim."""

    x: float
    y: float
    radius: float
    colour: str


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text; y is its baseline. is_upright: turned a quarter to the left."""

    x: float
    y: float
    text: str
    anchor: Anchor = "start"
    colour: str = INK
    size: float = FONT_POINTS
    is_upright: bool = False


Shape = Line | Box | Dot | Text


@dataclass(slots=True)
class Drawing:
    """A page of `width` x `height` and its shapes, back to front; `title` says what it shows."""

    title: str
    width: float
    height: float
    shapes: list[Shape] = field(default_factory=list)

    def add(self, *shapes: Shape) -> None:
        """Put shapes on top."""
        self.shapes += shapes

    def legend(self, entries: Sequence[tuple[str, str]], x: float, y: float) -> None:
        """Names beside their colours in rows from (x, y), as wide as the page allows."""
        left = x
        for name, colour in entries:
            if left + text_width(name) + 24 > self.width - 8:
                left, y = x, y + 14
            self.add(Box(left, y - 7, 8, 8, colour), Text(left + 12, y, name, colour=MUTED))
            left += text_width(name) + 26
