"""The layer tables of SCALE-Sim: one convolution or one product a line, each on data of its own.

Convolutions: Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides.
Products: Layer, M, N, K. A further column may name the sparsity, of which only 1:1 is read. Layers with DP in their
name are depthwise: as many groups as channels, with `Num Filter` filters each.
Source: SCALE-Sim 3.0.0 (Raj et al. 2025), topology files. No padding; the last window may hang over the edge.
"""

import csv
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from aisys.errors import BadInput
from aisys.frozen import FrozenMap
from aisys.ir.dtype import DTYPES
from aisys.ir.graph import Graph, Segment
from aisys.ir.verify import verify
from aisys.workload.config_file import MAX_EXTENT
from aisys.workload.image.layers import Layers, Window

MAX_FILE_BYTES, MAX_ROWS = 1_000_000, 10_000

CONV = ("IFMAP Height", "IFMAP Width", "Filter Height", "Filter Width", "Channels", "Num Filter", "Strides")
PRODUCT = ("M", "N", "K")
_ALSO = {"num filters": "num filter", "stride": "strides", "stride height": "strides"}
_WORD = "int8"
"""A word of SCALE-Sim is one byte."""


def read_topology(path: Path, batch: int = 1) -> Graph:
    """All layers of the file in one block.

    Raises BadInput with file, line and column for a column that is missing and for a value that cannot be.
    """
    lines = [line for line in csv.reader(StringIO(_text(path))) if any(cell.strip() for cell in line)]
    if len(lines) < 2:
        raise BadInput(f"{path}: no layers; give a line of column names and one line per layer")
    header = [_ALSO.get(name.strip().lower(), name.strip().lower()) for name in lines[0]]
    columns = PRODUCT if {"m", "n", "k"} <= set(header) else CONV
    missing = [name for name in columns if name.lower() not in header]
    if missing:
        raise BadInput(f"{path}: no column {missing[0]!r}; a topology has a name and {', '.join(columns)}")
    if len(lines) > MAX_ROWS:
        raise BadInput(f"{path}: {len(lines)} lines; at most {MAX_ROWS} here")
    layers = Layers("layers", batch, DTYPES[_WORD])
    inputs, outputs = [], []
    for number, line in enumerate(lines[1:], 2):
        where = f"{path}: line {number}"
        values = {name: _value(where, line, header, name) for name in columns}
        _check_sparsity(where, line, header)
        name = f"{number - 1}.{line[0].strip()[:80]}"
        outputs.append(name)
        inputs.append(_product(layers, name, values) if columns == PRODUCT else _conv(layers, name, values, where))
    block = layers.block(tuple(inputs), tuple(outputs))
    attributes: FrozenMap[str, int | float | str | bool] = FrozenMap(source=path.name, num_layers=len(outputs))
    return verify(Graph(name=path.stem, segments=(Segment(block),), attributes=attributes))


def _product(layers: Layers, name: str, values: Mapping[str, int]) -> str:
    return layers.product(name, values["M"], values["N"], values["K"])


def _conv(layers: Layers, name: str, values: Mapping[str, int], where: str) -> str:
    high, wide, filter_high, filter_wide, channels, filters, stride = (values[column] for column in CONV)
    if filter_high > high or filter_wide > wide:
        raise BadInput(f"{where}: a filter of {filter_high} x {filter_wide} is larger than its {high} x {wide} input")
    groups = channels if "DP" in name else 1
    x = layers.image(f"{name}.x", channels, (high, wide))
    window = Window(kernel=(filter_high, filter_wide), stride=stride, hangs=True)
    layers.conv(name, x, filters * groups, window, groups=groups)
    return x


def _value(where: str, line: list[str], header: list[str], name: str) -> int:
    index = header.index(name.lower())
    cell = line[index].strip() if index < len(line) else ""
    if not (cell.isascii() and cell.isdigit() and len(cell) < 10 and 1 <= int(cell) <= MAX_EXTENT):
        raise BadInput(f"{where}: {name} is {cell[:40]!r}; give a whole number from 1 to {MAX_EXTENT}")
    return int(cell)


def _check_sparsity(where: str, line: list[str], header: list[str]) -> None:
    index = header.index("sparsity") if "sparsity" in header else len(line)
    cell = line[index].strip() if index < len(line) else ""
    first, _, second = cell.partition(":")
    if cell and first != second:
        raise BadInput(f"{where}: sparsity {cell[:40]!r}; only dense layers (1:1) are read")


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadInput(f"{path}: {path.stat().st_size} bytes; a topology has at most {MAX_FILE_BYTES}")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not plain text (byte {error.start}); give a topology of SCALE-Sim") from error
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); give a topology of SCALE-Sim") from error
