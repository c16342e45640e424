"""The floor plan of networks that share a systolic array: where each stands, and which way its data flows."""

from collections.abc import Mapping, Sequence
from typing import Any

from aisys.report.figure.drawing import INK, MUTED, Box, Drawing, Line, Text, text_width
from aisys.report.quantity import number, percent

SIDE, GAP, TOP = 208.0, 28.0, 44.0
"""Width of the longer side of the array, the space between two arrays, and where they begin, in points."""
COLOURS = ("#2f6fde", "#12808f", "#7d3f08", "#5530a8")
ON_COLOUR = "#ffffff"


def sharing_figure(document: Mapping[str, Any], rows: int, cols: int) -> Drawing:
    """The best cut and the equal split side by side, on an array of `rows` x `cols`.

    document: what `aisys share --json` prints. Arrows at the edges: activations enter from the side that a part
    touches, partial sums leave at its top or bottom.
    """
    unit = SIDE / max(rows, cols)
    width = cols * unit
    title = f"{len(document['best']['parts'])} networks on {document['device']}"
    drawing = Drawing(title, 3 * GAP + 2 * width, TOP + rows * unit + 22)
    for place, (name, key) in enumerate((("best cut", "best"), ("equal split", "equal"))):
        left = GAP + place * (width + GAP)
        found = document[key]
        words = f"STP {number(found['stp'])}, ANTT {number(found['antt'])}; % of the speed alone"
        drawing.add(Text(left, 16, name), Text(left, 28, words, colour=MUTED))
        for network, part in enumerate(found["parts"]):
            _part(drawing, part, (left, TOP, unit), COLOURS[network], (rows, cols))
    return drawing


def _part(
    drawing: Drawing, part: Mapping[str, Any], origin: tuple[float, float, float], colour: str, array: tuple[int, int]
) -> None:
    left, top, unit = origin
    x, y, wide, high = left + part["col"] * unit, top + part["row"] * unit, part["cols"] * unit, part["rows"] * unit
    drawing.add(Box(x + 0.5, y + 0.5, wide - 1, high - 1, colour))
    is_left = part["col"] == 0
    is_bottom = part["row"] + part["rows"] == array[0]
    edge, inward = (x, 1) if is_left else (x + wide, -1)
    _arrow(drawing, (edge - 12 * inward, y + high / 2), (edge - 2 * inward, y + high / 2))
    end, outward = (y + high, 1) if is_bottom else (y, -1)
    _arrow(drawing, (x + wide / 2, end + 2 * outward), (x + wide / 2, end + 12 * outward))
    speed = percent(part["alone_s"] / part["time_s"])
    _label(drawing, (x, y, wide, high), (part["network"], f"{part['rows']} x {part['cols']}", speed))


def _arrow(drawing: Drawing, start: tuple[float, float], end: tuple[float, float]) -> None:
    dx, dy = (end[0] - start[0]) / 10, (end[1] - start[1]) / 10
    back = end[0] - 3 * dx, end[1] - 3 * dy
    head = ((back[0] - 3 * dy, back[1] - 3 * dx), end, (back[0] + 3 * dy, back[1] + 3 * dx))
    drawing.add(Line((start, end), INK, 1.0), Line(head, INK, 1.0))


def _label(drawing: Drawing, box: tuple[float, float, float, float], words: Sequence[str]) -> None:
    """As many of the words as fit the box, one under the other, or the first one upright."""
    x, y, wide, high = box
    size, step = 8.0, 11.0
    fitting = [w for w in words if text_width(w, size) < wide - 6][: int((high - 4) // step)]
    if words[0] not in fitting and text_width(words[0], size) < high - 6 and wide > step:
        both = f"{words[0]} {words[2]}"
        text = both if text_width(both, size) < high - 6 else words[0]
        drawing.add(Text(x + wide / 2 + 3, y + high / 2, text, "middle", ON_COLOUR, size, is_upright=True))
        return
    first = y + high / 2 - step * len(fitting) / 2 + 8
    for line, text in enumerate(fitting):
        drawing.add(Text(x + wide / 2, first + line * step, text, "middle", ON_COLOUR, size))
