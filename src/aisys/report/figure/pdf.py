"""Drawings as PDF 1.4 with the built-in Helvetica: vector shapes and real text, no library."""

import zlib

from aisys.report.figure.drawing import Box, Dot, Drawing, Line, Shape, Text, text_width

_ARC = 4 / 3 * (2**0.5 - 1)
"""Length of a Bezier handle that turns a quarter of a unit circle."""

_RESOURCES = "/Resources << /Font << /F 5 0 R >> >>"


def pdf(drawing: Drawing) -> bytes:
    """The drawing as a PDF file of one page."""
    content = "\n".join(_shape(shape, drawing.height) for shape in drawing.shapes).encode("latin-1", "replace")
    packed = zlib.compress(content, 9)
    box = f"[0 0 {drawing.width:g} {drawing.height:g}]"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Contents 4 0 R {_RESOURCES} >>".encode(),
        f"<< /Length {len(packed)} /Filter /FlateDecode >>\nstream\n".encode() + packed + b"\nendstream",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        f"<< /Title ({_string(drawing.title)}) /Producer (AISys) >>".encode("latin-1", "replace"),
    ]
    out, places = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    count = len(objects) + 1
    trailer = f"trailer\n<< /Size {count} /Root 1 0 R /Info 6 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    return bytes(out) + f"xref\n0 {count}\n0000000000 65535 f \n{table}{trailer}".encode()


def _shape(shape: Shape, height: float) -> str:
    match shape:
        case Line():
            path = " ".join(f"{x:.2f} {height - y:.2f} {'l' if i else 'm'}" for i, (x, y) in enumerate(shape.points))
            dash = " ".join(f"{d:g}" for d in shape.dash)
            return f"[{dash}] 0 d {_colour(shape.colour)} RG {shape.width:g} w {path} S"
        case Box():
            return (
                f"{_colour(shape.colour)} rg {shape.x:.2f} {height - shape.y - shape.height:.2f} {shape.width:.2f} "
                f"{shape.height:.2f} re f"
            )
        case Dot():
            circle = _circle(shape.x, height - shape.y, shape.radius)
            return f"[] 0 d {_colour(shape.colour)} rg 1 1 1 RG 0.75 w {circle} B"
        case Text():
            return _text(shape, height)


def _circle(x: float, y: float, radius: float) -> str:
    handle = radius * _ARC
    quarters = ((1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0))
    path = [f"{x + radius:.2f} {y:.2f} m"]
    for ax, ay, bx, by in quarters:
        first = f"{x + ax * radius + bx * handle:.2f} {y + ay * radius + by * handle:.2f}"
        second = f"{x + bx * radius + ax * handle:.2f} {y + by * radius + ay * handle:.2f}"
        path.append(f"{first} {second} {x + bx * radius:.2f} {y + by * radius:.2f} c")
    return " ".join(path)


def _text(shape: Text, height: float) -> str:
    shift = {"start": 0.0, "middle": 0.5, "end": 1.0}[shape.anchor] * text_width(shape.text, shape.size)
    x, y = shape.x, height - shape.y
    matrix = f"0 1 -1 0 {x:.2f} {y - shift:.2f}" if shape.is_upright else f"1 0 0 1 {x - shift:.2f} {y:.2f}"
    return f"BT {_colour(shape.colour)} rg /F {shape.size:g} Tf {matrix} Tm ({_string(shape.text)}) Tj ET"


def _string(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)").replace("\n", " ")


def _colour(colour: str) -> str:
    return " ".join(f"{int(colour[i : i + 2], 16) / 255:.3f}" for i in (1, 3, 5))
