"""Drawings as SVG."""

from html import escape

from aisys.report.figure.drawing import Box, Dot, Drawing, Line, Shape, Text


def svg(drawing: Drawing) -> str:
    """The drawing as a stand-alone SVG file."""
    size = (
        f'width="{drawing.width:g}pt" height="{drawing.height:g}pt" viewBox="0 0 {drawing.width:g} {drawing.height:g}"'
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="Helvetica, Arial, sans-serif" role="img">'
    body = "\n".join(_shape(shape) for shape in drawing.shapes)
    ground = f'<rect width="{drawing.width:g}" height="{drawing.height:g}" fill="#ffffff"/>'
    return f"{head}\n<title>{escape(drawing.title)}</title>\n{ground}\n{body}\n</svg>\n"


def _shape(shape: Shape) -> str:
    match shape:
        case Line():
            points = " ".join(f"{x:.2f},{y:.2f}" for x, y in shape.points)
            dash = f' stroke-dasharray="{" ".join(f"{d:g}" for d in shape.dash)}"' if shape.dash else ""
            look = f'fill="none" stroke="{shape.colour}" stroke-width="{shape.width:g}"'
            return f'<polyline points="{points}" {look}{dash}/>'
        case Box():
            place = f'x="{shape.x:.2f}" y="{shape.y:.2f}" width="{shape.width:.2f}" height="{shape.height:.2f}"'
            return f'<rect {place} fill="{shape.colour}"/>'
        case Dot():
            place = f'cx="{shape.x:.2f}" cy="{shape.y:.2f}" r="{shape.radius:.2f}"'
            return f'<circle {place} fill="{shape.colour}" stroke="#ffffff" stroke-width="0.75"/>'
        case Text():
            turn = f' transform="rotate(-90 {shape.x:.2f} {shape.y:.2f})"' if shape.is_upright else ""
            look = f'text-anchor="{shape.anchor}" font-size="{shape.size:g}" fill="{shape.colour}"'
            return f'<text x="{shape.x:.2f}" y="{shape.y:.2f}" {look}{turn}>{escape(shape.text)}</text>'
