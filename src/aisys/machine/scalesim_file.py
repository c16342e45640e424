"""Configuration files of SCALE-Sim (.cfg) as devices.

Read are ArrayHeight, ArrayWidth, Dataflow, the three buffers (kB, one byte a word) and, where InterfaceBandwidth is
USER, Bandwidth (words a cycle). The file states no clock, energy or price: those of systolic-32x32 stand in, and so
does its main memory's bandwidth where the file leaves it open.
Source: SCALE-Sim 3.0.0 (Raj et al. 2025), configs/scale.cfg.
"""

from configparser import ConfigParser, Error
from dataclasses import replace
from pathlib import Path

from aisys.errors import BadInput, unknown_name
from aisys.frozen import FrozenMap
from aisys.machine.architecture import SystolicArray
from aisys.machine.facts import read_bytes
from aisys.machine.types import Device
from aisys.units import KiB, Sourced

SUFFIX = ".cfg"
DATAFLOWS = ("ws", "os", "is")
_ARRAY, _RUN = "architecture_presets", "run_presets"
_BUFFERS = ("IfmapSramSzkB", "FilterSramSzkB", "OfmapSramSzkB")
_MAX = 2**24


def read_device(path: Path, base: Device) -> Device:
    """The array that the file describes, with everything it does not say as in `base`.

    Raises BadInput for a file without one of the fields above or with a value that cannot be, UnknownName for a
    dataflow.
    """
    config = _parsed(path)
    array, (buffer, main) = base.architecture, base.memories.values()
    assert isinstance(array, SystolicArray)
    dataflow = _text(path, config, _ARRAY, "Dataflow").lower()
    if dataflow not in DATAFLOWS:
        raise unknown_name(f"Dataflow in {path}", dataflow, DATAFLOWS)
    buffer_bytes = sum(_count(path, config, _ARRAY, name) for name in _BUFFERS) * KiB
    buffer = replace(buffer, capacity_bytes=_sourced(path, "buffers", buffer_bytes))
    if config.get(_RUN, "InterfaceBandwidth", fallback="CALC").strip().upper() == "USER":
        words = _count(path, config, _ARRAY, "Bandwidth")
        main = replace(main, bandwidth_bytes_per_s=_sourced(path, "Bandwidth", words * float(array.clock_hz)))
    rows, cols = (_sourced(path, n, _count(path, config, _ARRAY, n)) for n in ("ArrayHeight", "ArrayWidth"))
    return replace(
        base, name=path.stem, architecture=replace(array, rows=rows, cols=cols, dataflow=dataflow),
        memories=FrozenMap({buffer.name: buffer, main.name: main}),
    )  # fmt: skip


def _parsed(path: Path) -> ConfigParser:
    config = ConfigParser(interpolation=None, strict=False)
    try:
        config.read_string(read_bytes(path).decode("utf-8"))
    except (UnicodeDecodeError, Error) as error:
        reason = " ".join(str(error).split())[:160]
        raise BadInput(f"{path}: not a configuration of SCALE-Sim ({reason}); give its scale.cfg") from error
    return config


def _text(path: Path, config: ConfigParser, section: str, name: str) -> str:
    if not config.has_option(section, name):
        raise BadInput(f"{path}: no {name} in section [{section}]; add it, as in SCALE-Sim's scale.cfg")
    return config.get(section, name).strip()


def _count(path: Path, config: ConfigParser, section: str, name: str) -> int:
    text = _text(path, config, section, name).split(",")[0].strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= _MAX):
        raise BadInput(f"{path}: {name} is {text[:40]!r}; give a whole number from 1 to {_MAX}")
    return int(text)


def _sourced(path: Path, name: str, value: float) -> Sourced:
    return Sourced(
        value, source=f"{path.name}, a configuration of SCALE-Sim", kind="assumed", key=f"{path.stem}.{name}"
    )
