"""What a user typed after `aisys plan`, as a request: limits, techniques and held decisions in their written form."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from aisys.cli.limits import read_limits
from aisys.cli.output import tier_of
from aisys.cli.plan_request import Request
from aisys.cli.tables import calibrated_tier
from aisys.errors import BadInput, unknown_name
from aisys.frozen import FrozenMap
from aisys.plan import Plan
from aisys.plan.space import PlanSpace
from aisys.search import Method


def read_request(
    plain: Mapping[str, Any], *, hold: Sequence[str], technique: Sequence[str], at_most: Sequence[str],
    method: Method,
) -> Request:  # fmt: skip
    """The request with the fields of `plain` as they are and the others read.

    Raises BadInput and UnknownName for words that cannot be read.
    """
    held = (read_held(hold),) if hold else ()
    return Request(
        **plain, techniques=(*(read_technique(word) for word in technique), *held), limits=read_limits(at_most),
        method=method,
    )  # fmt: skip


def read_method(tier: str, framework: str, calibrate_with: list[Path] | None) -> Method:
    """How to estimate. Raises BadInput for tables that cannot be read, or that teach nothing."""
    method = Method(tier=tier_of(calibrated_tier(tier, calibrate_with)), framework=framework)
    if not calibrate_with:
        return method
    from aisys.validate import read_calibration

    return replace(method, calibrate=read_calibration(calibrate_with).machine)


@dataclass(frozen=True, slots=True)
class Held:
    """Hold decisions of the plan to the values that a user gave."""

    choices: FrozenMap[str, tuple[Any, ...]]

    def constrain(self, space: PlanSpace) -> PlanSpace:
        """Only plans with these values."""
        return space.narrow(**self.choices)


def read_held(words: Sequence[str]) -> Held:
    """Decisions and their values from words like `tensor=4` or `recompute=none,selective`.

    >>> read_held(["tensor=4,8"]).choices
    {tensor: (4, 8)}
    """
    defaults = {f.name: f.default for f in fields(Plan)}
    choices: dict[str, tuple[Any, ...]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise BadInput(f"{word[:60]!r} holds nothing; write DECISION=VALUE, for example tensor=8")
        if name not in defaults:
            raise unknown_name("decision of a plan", name, defaults)
        choices[name] = tuple(_value(name, part, type(defaults[name])) for part in text.split(","))
        for value in choices[name]:
            Plan(**{name: value})
    return Held(FrozenMap(choices))


def read_technique(word: str) -> Any:
    """A technique from its name and options: `recompute`, `serving_format:weights=int4,kv_cache=fp8`.

    >>> read_technique("recompute:mode=full")
    Recompute(mode='full', stops_early=True)
    """
    from aisys.plugins import technique

    name, _, text = word.partition(":")
    found = technique(name)
    known = {f.name: f for f in fields(found)} if is_dataclass(found) else {}
    options: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        option, equals, value = part.partition("=")
        if not equals:
            raise BadInput(f"technique {name}: {part[:60]!r} is not of the form OPTION=VALUE")
        if option not in known:
            raise unknown_name(f"option of technique {name}", option, known)
        options[option] = _value(option, value, _type_of(known[option]))
    missing = [f.name for f in known.values() if _is_needed(f) and f.name not in options]
    if missing:
        raise BadInput(f"technique {name} needs {missing[0]}; write {name}:{missing[0]}=VALUE")
    return found(**options)


def _is_needed(option: Field[Any]) -> bool:
    return option.default is MISSING and option.default_factory is MISSING


def _type_of(option: Field[Any]) -> type:
    """bool, int or float where the option is declared so or has such a default; else text."""
    declared = option.type if isinstance(option.type, str) else getattr(option.type, "__name__", "")
    plain = {"bool": bool, "int": int, "float": float}.get(declared)
    return plain or (type(option.default) if isinstance(option.default, (bool, int, float)) else str)


def _value(name: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise BadInput(f"{name}={text[:40]!r} is neither true nor false")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        raise BadInput(f"{name}={text[:40]!r} is not a {'whole number' if kind is int else 'number'}") from None
