"""Unit constants, and numbers that remember where they came from.

Fields hold SI base units (s, bytes, flop, joule, watt, hertz) and their names end with the unit.
Prefixes appear only where a person writes a number down: `80 * GiB`, `312 * TERA`.
"""

from typing import Literal, Self, get_args

KILO, MEGA, GIGA, TERA = 1e3, 1e6, 1e9, 1e12
KiB, MiB, GiB, TiB = 2**10, 2**20, 2**30, 2**40
MICRO, NANO, PICO = 1e-6, 1e-9, 1e-12
PS_PER_S = 10**12

Kind = Literal["datasheet", "measured", "fitted", "assumed"]


class Sourced(float):
    """A number with its origin; a plain float in arithmetic.

    `key` is its place in the machine file (`h100-sxm.clock_hz`), which reports use to list what they rest on.

    >>> clock = Sourced(1.98e9, source="data sheet", kind="datasheet", key="h100-sxm.clock_hz")
    >>> clock / 2, clock.kind
    (990000000.0, 'datasheet')
    """

    __slots__ = ("key", "kind", "source")
    source: str
    kind: Kind
    key: str

    def __new__(cls, value: float, *, source: str, kind: Kind, key: str = "") -> Self:
        if kind not in get_args(Kind):
            raise ValueError(f"kind {kind!r} is unknown; use one of {', '.join(get_args(Kind))}")
        if not source:
            raise ValueError(f"{key or value} needs a source; say 'assumed' and why where there is none")
        self = super().__new__(cls, value)
        self.source, self.kind, self.key = source, kind, key
        return self

    def __getnewargs_ex__(self) -> tuple[tuple[float], dict[str, str]]:
        return (float(self),), {"source": self.source, "kind": self.kind, "key": self.key}
