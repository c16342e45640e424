"""Studies in a file: one request, or every combination of the values that it varies."""

import csv
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from aisys.cli.plan_request import Request, answer
from aisys.cli.plan_words import read_method, read_request
from aisys.cli.progress import progress_bar
from aisys.errors import AisysError, BadInput, CannotApply, DoesNotFit, unknown_name
from aisys.report import Frontier
from aisys.report.store import document
from aisys.search import Watch
from aisys.user_file import user_text

MAX_BYTES, MAX_POINTS = 1_000_000, 10_000
_WORDS = {"workload": "", "machine": "", "for": "train", "precision": "", "framework": "", "tier": "analytic"}
_COUNTS = ("batch", "tokens", "context", "devices", "top")
_LISTS = ("hold", "technique", "at_most")
FIELDS = (*_WORDS, *_COUNTS, *_LISTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One combination of a sweep: what varied, and the answer; None where nothing fits, and why."""

    settings: Mapping[str, Any]
    frontier: Frontier | None
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The point in `aisys run --json`: its settings, and the document of `aisys plan --json`."""
        if self.frontier is None:
            return {"settings": dict(self.settings), "plans": [], "binding_constraint": self.reason}
        return {"settings": dict(self.settings), **document(self.frontier)}


def read_study(file: Path) -> list[tuple[dict[str, Any], Request]]:
    """The requests of a study with what varies in each. Every one is checked before the first is answered.

    Raises BadInput and UnknownName, in one sentence, for a file that cannot be read or a field that is not known.
    """
    state = _state(file)
    sweep = state.pop("sweep", {})
    if not isinstance(sweep, dict) or not all(isinstance(values, list) and values for values in sweep.values()):
        raise BadInput(f"{file}: [sweep] needs lists of values, for example tokens = [2048, 8192]")
    for name in (*state, *sweep):
        if name not in FIELDS:
            raise unknown_name(f"field in {file.name}", name, (*FIELDS, "sweep"))
    if prod(len(values) for values in sweep.values()) > MAX_POINTS:
        raise BadInput(f"{file}: a sweep of more than {MAX_POINTS:,} points; vary less")
    varied = [dict(zip(sweep, values, strict=True)) for values in product(*sweep.values())]
    return [(settings, _request(file, {**state, **settings})) for settings in varied]


def _state(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(user_text(file, most_bytes=MAX_BYTES, wanted="give a study in TOML"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{file}: is not a TOML file ({str(error)[:120]})") from None


def _request(file: Path, state: Mapping[str, Any]) -> Request:
    words = {name: _typed(file, name, state.get(name, usual), str, "text") for name, usual in _WORDS.items()}
    counts = {name: _typed(file, name, state[name], int, "a whole number") for name in _COUNTS if name in state}
    lists = {name: _texts(file, name, state.get(name, [])) for name in _LISTS}
    for name in ("workload", "machine"):
        if not words[name]:
            raise BadInput(f'{file}: {name} is missing; add for example {name} = "..."')
    plain = {"workload": words["workload"], "machine": words["machine"], "goal": words["for"], **counts}
    return read_request(
        {**plain, "precision": words["precision"]}, **lists, method=read_method(words["tier"], words["framework"], None)
    )


def _typed(file: Path, name: str, value: Any, kind: type, what: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BadInput(f"{file}: {name} is {str(value)[:40]!r}; it must be {what}")
    return value


def _texts(file: Path, name: str, value: Any) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BadInput(f"{file}: {name} is {str(value)[:40]!r}; it must be text or a list of texts")
    return texts


def points(study: Sequence[tuple[dict[str, Any], Request]], *, is_shown: bool) -> Iterator[Point]:
    """The answers, one after another; a point that cannot be keeps its reason and the study goes on."""
    with progress_bar("planning", is_shown=is_shown) as progress:
        for place, (settings, request) in enumerate(study):
            progress(place, len(study))
            try:
                yield Point(settings=settings, frontier=answer(request, Watch()))
            except (DoesNotFit, CannotApply) as error:
                yield Point(settings=settings, frontier=None, reason=str(error))
            except AisysError as error:
                where = ", ".join(f"{name} = {value}" for name, value in settings.items())
                raise type(error)(f"{where}: {error}" if where else str(error)) from None


def table_csv(done: Sequence[Point]) -> str:
    """One row per point: what varied, the best plan and its figures in SI units, or why there is none."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    figures = ("time_s", "low_s", "high_s", "throughput_per_s", "energy_joule", "peak_memory_bytes", "usd_per_million")
    best = [point.frontier.reports[0] if point.frontier else None for point in done]
    decisions = next((list(report.plan.as_dict()) for report in best if report), [])
    writer.writerow([*done[0].settings, *decisions, *figures, "binding_constraint"])
    for point, report in zip(done, best, strict=True):
        values = [*report.plan.as_dict().values(), *(getattr(report, name) for name in figures)] if report else []
        blank = [""] * (len(decisions) + len(figures) - len(values))
        reason = point.frontier.binding_constraint if point.frontier else point.reason
        writer.writerow([*point.settings.values(), *values, *blank, reason])
    return out.getvalue()
