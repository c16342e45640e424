"""A loop nest level by level: where its energy goes and what each port waits for; and the nests that none beats."""

from collections.abc import Mapping, Sequence
from math import floor, log10
from typing import Any

from aisys.report.figure.axes import Axis, Frame
from aisys.report.figure.drawing import INK, MUTED, Box, Dot, Drawing, Line, Text, text_width
from aisys.report.quantity import number, scaled

WIDTH, GAP = 480.0, 30.0
BAR, STEP, TOP = 14.0, 20.0, 46.0
FRONT_HEIGHT = 210.0
ENERGY, CYCLES, CHOSEN = "#0f8f63", "#2f6fde", "#e8590c"
ARITHMETIC = "arithmetic"


def nest_figure(document: Mapping[str, Any]) -> Drawing:
    """Energy and busy cycles of each level, and the front of energy against cycles where the document has one.

    document: what `aisys map --json` prints.
    """
    levels = [*document["levels"], _arithmetic(document)]
    front = document.get("pareto", ())
    bottom = TOP + len(levels) * STEP
    drawing = Drawing(
        f"{document['einsum']} on {document['device']}", WIDTH, bottom + 14 + (FRONT_HEIGHT if len(front) > 1 else 0)
    )
    extents = " ".join(f"{dim}={extent}" for dim, extent in document["extents"].items() if extent > 1)
    drawing.add(Text(12, 16, drawing.title), Text(WIDTH - 12, 16, extents, "end", MUTED))
    left = 18 + max(text_width(level["level"]) for level in levels)
    for row, level in enumerate(levels):
        drawing.add(Text(left - 6, TOP + row * STEP + 11, level["level"], "end"))
    middle = left + (WIDTH - left - 12 - GAP) / 2
    energies = [level["energy_joule"] for level in levels]
    total = document["energy_joule"]
    words = f"energy, {scaled(total, 'J')}"
    _bars(drawing, (left, middle), words, energies, [scaled(e, "J") for e in energies], (ENERGY, 0.0))
    busy = [level["cycles"] for level in levels]
    words = f"busy cycles, {number(document['cycles'])} pass"
    _bars(drawing, (middle + GAP, WIDTH - 12), words, busy, [number(b) for b in busy], (CYCLES, document["cycles"]))
    if len(front) > 1:
        _front(drawing, front, (document["energy_joule"], document["cycles"]), bottom + 20)
    return drawing


def _arithmetic(document: Mapping[str, Any]) -> dict[str, Any]:
    cycles, joule = document["compute_cycles"], document["mac_energy_joule"]
    return {"level": ARITHMETIC, "cycles": cycles, "energy_joule": joule}


def _bars(
    drawing: Drawing, sides: tuple[float, float], title: str, values: Sequence[float], shown: Sequence[str],
    look: tuple[str, float],
) -> None:  # fmt: skip
    """Bars from the left side on, their numbers behind them; look: a colour, and where a dashed limit stands or 0."""
    (left, right), (colour, limit) = sides, look
    room = right - left - max(text_width(text, 8.0) for text in shown) - 5
    whole = max(*values, limit) or 1.0
    drawing.add(Text(left, TOP - 10, title, colour=MUTED))
    for row, (value, text) in enumerate(zip(values, shown, strict=True)):
        width, top = value / whole * room, TOP + row * STEP
        drawing.add(Box(left, top, width, BAR, colour))
        drawing.add(Text(left + width + 4, top + 10.5, text, colour=MUTED, size=8.0))
    if limit:
        x = left + limit / whole * room
        drawing.add(Line(((x, TOP - 4), (x, TOP + len(values) * STEP - 2)), INK, 1.0, (3, 2)))


def _front(drawing: Drawing, front: Sequence[Mapping[str, Any]], chosen: tuple[float, float], top: float) -> None:
    """Energy against cycles of every nest on the front; the one that is shown above in its own colour."""
    joules, cycles = ([point[name] for point in front] for name in ("energy_joule", "cycles"))
    power = 1000.0 ** floor(log10(max(joules)) / 3)
    unit = scaled(power, "J").split()[-1]
    frame = Frame(
        64, top + 6, WIDTH - 12, top + FRONT_HEIGHT - 46,
        Axis.over("cycles", cycles), Axis.over(f"energy, {unit}", [j / power for j in joules]),
    )  # fmt: skip
    frame.draw(drawing)
    drawing.add(Line(tuple(sorted(frame.at(c, j / power) for c, j in zip(cycles, joules, strict=True))), MUTED, 0.75))
    for joule, cycle in zip(joules, cycles, strict=True):
        is_chosen = (joule, cycle) == chosen
        x, y = frame.at(cycle, joule / power)
        drawing.add(Dot(x, y, 4.5 if is_chosen else 3, CHOSEN if is_chosen else CYCLES))
