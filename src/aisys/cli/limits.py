"""Words like `tpot=30ms` as limits on named results, in SI units."""

import re
from collections.abc import Mapping, Sequence

from aisys.errors import BadInput, unknown_name

NAMES: Mapping[str, str] = {
    "tpot": "tpot_s", "ttft": "ttft_s", "time": "time_s", "step": "time_s", "latency": "latency_s",
}  # fmt: skip
"""What may be limited, and the result that it is."""

OF_GOAL: Mapping[str, tuple[str, ...]] = {"train": ("time_s",), "infer": ("tpot_s", "ttft_s", "latency_s")}
"""The results that may be limited for each goal."""

_PREFIXES = {"": 1.0, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3}
_WRITTEN = re.compile(r"\s*([0-9]+\.?[0-9]*(?:e-?[0-9]+)?)\s*([nuµm]?)(s?)\s*")


def read_limits(words: Sequence[str]) -> dict[str, float]:
    """The limits that `words` state, by result. Raises BadInput for what is no limit, UnknownName for a name.

    >>> read_limits(["tpot=30ms", "ttft=1.5"])
    {'tpot_s': 0.03, 'ttft_s': 1.5}
    """
    limits: dict[str, float] = {}
    for word in (part for given in words for part in given.split(",")):
        name, equals, text = word.partition("=")
        if not equals:
            raise BadInput(f"{word[:60]!r} is no limit; write NAME=VALUE, for example tpot=30ms")
        name = name.strip().removesuffix("_s")
        if name not in NAMES:
            raise unknown_name("limit", name, NAMES)
        limits[NAMES[name]] = _seconds(name, text)
    return limits


def _seconds(name: str, text: str) -> float:
    written = _WRITTEN.fullmatch(text)
    has_unit = written is not None and (not written.group(2) or written.group(3))
    if written is None or not has_unit or float(written.group(1)) <= 0:
        raise BadInput(f"{name}={text[:40]!r} is not a time; write for example {name}=30ms")
    return float(written.group(1)) * _PREFIXES[written.group(2)]
