"""Answers as JSON: the document that `aisys plan --json` prints, and the run file that `aisys diff` reads again."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from math import inf, isfinite, nan
from pathlib import Path
from typing import Any

from aisys.errors import AisysError, BadInput
from aisys.frozen import FrozenMap
from aisys.plan import Plan
from aisys.report.types import Frontier, Measurement, OpLine, Report
from aisys.units import Sourced
from aisys.user_file import user_text

FORMAT = 1
RUN_FILE = "run.json"
MAX_BYTES = 256_000_000
_MAPS = ("memory_bytes", "breakdown_s", "metrics")
_NUMBERS = (
    "time_s", "throughput_per_s", "energy_joule", "peak_memory_bytes", "usd_per_million", "capacity_bytes",
)  # fmt: skip


def document(frontier: Frontier, num_plans: int | None = None) -> dict[str, Any]:
    """What `aisys plan --json` prints: the first `num_plans` plans (None: all) and the constraint that binds."""
    return {
        "workload": frontier.workload, "machine": frontier.machine, "goal": frontier.goal,
        "plans": [report.as_dict() for report in frontier.reports[:num_plans]],
        "binding_constraint": frontier.binding_constraint,
    }  # fmt: skip


def run_text(frontier: Frontier) -> str:
    """The run file: `document` and all that the renderers need, timelines left out."""
    plans = [
        report.as_dict() | {
            "capacity_bytes": report.capacity_bytes, "tier": report.tier, "reason": report.reason,
            "ops": [asdict(op) for op in report.ops],
            "provenance": [
                {"key": n.key, "value": float(n), "kind": n.kind, "source": n.source} for n in report.provenance
            ],
        }
        for report in frontier.reports
    ]  # fmt: skip
    whole = {
        "format": FORMAT, **document(frontier), "plans": plans, "objectives": list(frontier.objectives),
        "pareto": list(frontier.pareto), "num_evaluated": frontier.num_evaluated, "num_pruned": frontier.num_pruned,
    }  # fmt: skip
    return json.dumps(finite(whole), allow_nan=False) + "\n"


def finite(value: Any) -> Any:
    """`value` with numbers that JSON cannot hold as null, dataclasses and mappings as objects.

    >>> finite({"a": (1, float("inf"))})
    {'a': [1, None]}
    """
    if isinstance(value, float):
        return float(value) if isfinite(value) else None
    if isinstance(value, Measurement):
        return finite(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def load_run(path: Path) -> Frontier:
    """The answer saved in a run file, or in the folder that holds one; without timelines.

    Raises BadInput, in one sentence, for anything else.
    """
    file = path / RUN_FILE if path.is_dir() else path
    try:
        state = json.loads(user_text(file, most_bytes=MAX_BYTES, wanted="give a folder that aisys plan wrote"))
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise BadInput(f"{file}: is not a run file of format {FORMAT}; give one that aisys plan wrote")
        return _frontier(state)
    except AisysError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"{type(error).__name__}: {str(error)[:80]}"
        raise BadInput(f"{file}: is not a whole run file ({what}); give one that aisys plan wrote") from None


def _frontier(state: Mapping[str, Any]) -> Frontier:
    shared = {name: str(state[name]) for name in ("workload", "machine", "goal")}
    reports = tuple(_report(plan, shared) for plan in state["plans"])
    pareto = tuple(int(i) for i in state["pareto"])
    if any(not 0 <= i < len(reports) for i in pareto):
        raise BadInput(f"run file: pareto names plan {max(pareto)} of {len(reports)}; give one that aisys plan wrote")
    return Frontier(
        **shared, reports=reports, objectives=tuple(state["objectives"]), pareto=pareto,
        num_evaluated=int(state["num_evaluated"]), num_pruned=int(state["num_pruned"]),
        binding_constraint=str(state["binding_constraint"]),
    )  # fmt: skip


def _report(state: Mapping[str, Any], shared: Mapping[str, str]) -> Report:
    low, high = (_number(value, nan) for value in state["error"])
    quality = state["quality"]
    values: dict[str, Any] = {
        **shared, **{name: _number(state[name], inf) for name in _NUMBERS},
        **{name: FrozenMap({str(k): _number(v, nan) for k, v in state[name].items()}) for name in _MAPS},
        **{name: str(state[name]) for name in ("bound", "tier", "reason")}, "unit": str(state.get("unit", "token")),
    }  # fmt: skip
    return Report(
        **values, low_s=low, high_s=high, plan=Plan(**state["plan"]),
        quality=None if quality is None else Measurement(**_typed(quality)),
        assumptions=tuple(str(a) for a in state["assumptions"]),
        provenance=tuple(
            Sourced(float(n["value"]), source=str(n["source"]), kind=n["kind"], key=str(n["key"]))
            for n in state["provenance"]
        ),
        ops=tuple(_op(op) for op in state["ops"]),
    )  # fmt: skip


def _op(state: Mapping[str, Any]) -> OpLine:
    words: dict[str, Any] = {name: str(state[name]) for name in ("block", "name", "phase", "kind", "bound")}
    numbers: dict[str, Any] = {name: float(state[name]) for name in ("time_s", "flop", "traffic_bytes")}
    return OpLine(**words, **numbers, repeat=int(state["repeat"]))


def _typed(state: Mapping[str, Any]) -> dict[str, Any]:
    known = {f.name for f in fields(Measurement)}
    return {name: tuple(value) if name == "interval_95" else value for name, value in state.items() if name in known}


def _number(value: Any, absent: float) -> float:
    return absent if value is None else float(value)


def load_report(name: str) -> Report:
    """One plan of a saved run: `FOLDER` or `FILE` is its best one, `FOLDER:3` the third of its table.

    Raises BadInput for anything else.
    """
    path, colon, place = name.rpartition(":")
    has_place = bool(colon) and place.isdigit()
    frontier = load_run(Path(path if has_place else name))
    number = int(place[:9]) if has_place else 1
    if not 1 <= number <= len(frontier.reports):
        raise BadInput(f"{path or name}: has {len(frontier.reports)} plans, no plan {number}; choose one of them")
    return frontier.reports[number - 1]
