"""Predicts tables of kind accelforge: optimal mappings, found again from the files of that program's own examples.

Columns: arch, workload, params (`NAME=VALUE,...`), fusion (fused, unfused), energy, latency, edp. The files lie beside
the table under inputs/accelforge/. A row is tied where `edp` is; where the arithmetic takes no time, where `energy` is.
Rows whose energies come from another program's component models are skipped. Every tier is the same.
"""

from pathlib import Path
from typing import Any

import numpy as np

from aisys.cost import Tier
from aisys.cost.loop_nest.accelforge.run import best_of_files
from aisys.errors import AisysError, BadInput
from aisys.frozen import FrozenMap
from aisys.validate.prediction import Compared, Options, Prediction, no_interval
from aisys.validate.table import Table

INPUTS = Path("inputs") / "accelforge"


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """Energy of each best mapping beside the program's, and the latency and the product of both."""
    names = ("energy", "latency", "edp")
    predicted = {name: np.full(len(table), np.nan) for name in names}
    measured = {name: table.numbers(name, above=-1) for name in names}
    skipped: list[tuple[int, str]] = []
    words = [table.texts(name) for name in ("arch", "workload", "params", "fusion")]
    for row, (arch, workload, params, fusion) in enumerate(zip(*words, strict=True)):
        try:
            energy, latency = _row(table.path.parent / INPUTS, str(arch), str(workload), (str(params), str(fusion)))
        except AisysError as error:
            skipped.append((row, str(error)))
            continue
        for name, value in zip(names, (energy, latency, energy * latency), strict=True):
            predicted[name][row] = value
    for name in names[1:]:
        both_zero = (measured[name] == 0) & (predicted[name] == 0)
        measured[name] = np.where(both_zero, np.nan, measured[name])
    others = {
        name: Compared(predicted=predicted[name], measured=measured[name], **no_interval(len(table)))
        for name in names[1:]
    }
    return Prediction(
        predicted=predicted["energy"], measured=measured["energy"], **no_interval(len(table)),
        skipped=tuple(skipped), group_columns=("arch",), others=FrozenMap(others),
    )  # fmt: skip


def _row(inputs: Path, arch: str, workload: str, words: tuple[str, str]) -> tuple[float, float]:
    params, fusion = words
    if fusion not in ("fused", "unfused"):
        raise BadInput(f"fusion is {fusion!r}; give fused or unfused")
    return best_of_files(
        _found(inputs / "arches", arch), _found(inputs / "workloads", workload), is_fused=fusion == "fused",
        **_parameters(params),
    )  # fmt: skip


def _found(folder: Path, name: str) -> Path:
    for path in sorted(folder.rglob("*.yaml")) if folder.is_dir() else ():
        if path.stem == name:
            return path
    raise BadInput(f"no file {name[:60]}.yaml under {INPUTS.as_posix()}/{folder.name} beside the table")


def _parameters(text: str) -> dict[str, Any]:
    words = {"True": True, "False": False}
    pairs = [part.partition("=") for part in text.split(",") if part.strip() not in ("", "nan")]
    return {name.strip(): int(v) if v.strip().isdigit() else words.get(v.strip(), v.strip()) for name, _, v in pairs}
