"""Predicts tables of kind timeloop: runs of Timeloop's model from their own inputs, digit for digit.

Columns: path, computes, utilization_pct, cycles, energy_uJ, EDP_Jcycle, per_compute (`name=fJ; ...`). The inputs lie
beside the table under inputs/timeloop/, at the path of the row with any of its leading folders left out. Figures are
compared as they are printed: energies to two decimals, the energy-delay product to three digits. Rows whose inputs
are not there, or whose mapping was searched for, are skipped. Every tier is the same.
"""

from collections import defaultdict
from pathlib import Path, PurePosixPath

import numpy as np

from aisys.cost import Tier
from aisys.cost.loop_nest.timeloop import RunFolder, Stats
from aisys.errors import AisysError, BadInput
from aisys.frozen import FrozenMap
from aisys.units import MICRO
from aisys.validate.prediction import Compared, Floats, Options, Prediction, no_interval
from aisys.validate.table import Table

INPUTS = Path("inputs") / "timeloop"
_FEMTO = 1e-15


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """Cycles of each run beside those that Timeloop printed; its energies beside its own."""
    predicted: dict[str, Floats] = defaultdict(lambda: np.full(len(table), np.nan))
    measured: dict[str, Floats] = defaultdict(lambda: np.full(len(table), np.nan))
    skipped: list[tuple[int, str]] = []
    printed = {name: table.numbers(name, above=-1) for name in ("cycles", "energy_uJ", "EDP_Jcycle", "computes")}
    for row, (path, energies) in enumerate(zip(table.texts("path"), table.texts("per_compute"), strict=True)):
        try:
            stats = run_folder(table.path.parent / INPUTS, str(path)).stats()
            theirs = {**{name: float(values[row]) for name, values in printed.items()}, **_per_compute(str(energies))}
        except AisysError as error:
            skipped.append((row, str(error)))
            continue
        ours = _printed(stats)
        for name, value in theirs.items():
            both_zero = value == 0 and ours.get(name) == 0
            measured[name][row] = np.nan if both_zero else value
            predicted[name][row] = ours.get(name, np.nan)
    cycles = predicted.pop("cycles", np.full(len(table), np.nan))
    others = {
        name: Compared(predicted=values, measured=measured[name], **no_interval(len(table)))
        for name, values in predicted.items()
    }
    return Prediction(
        predicted=cycles, measured=printed["cycles"], **no_interval(len(table)), skipped=tuple(skipped),
        others=FrozenMap(others),
    )  # fmt: skip


def run_folder(inputs: Path, path: str) -> RunFolder:
    """The inputs of the run whose statistics lie at `path`. Raises BadInput where they are not under `inputs`."""
    parts = PurePosixPath(path).parts
    marks = [i for i, part in enumerate(parts) if part in ("ref-output", "ref_outputs")]
    if not marks or ".." in parts:
        raise BadInput(f"{path[:120]!r} names no output folder; write .../ref-output/RUN/....stats.txt")
    mark = marks[0]
    for start in range(mark):
        folder = inputs.joinpath(*parts[start:mark])
        if (folder / "arch").is_dir():
            return RunFolder(folder=folder, outputs=inputs.joinpath(*parts[start:-1]))
    raise BadInput(f"no inputs of {path[:120]} under {INPUTS.as_posix()} beside the table")


def _printed(stats: Stats) -> dict[str, float]:
    """The figures of a run as Timeloop rounds them."""
    energy = stats.energy_joule
    per_compute = {
        f"{name}_fJ_per_compute": round(joule / stats.computes / _FEMTO, 2)
        for name, joule in (*stats.joule.items(), ("Total", energy))
    }
    return {
        "cycles": stats.cycles, "computes": stats.computes, "energy_uJ": round(energy / MICRO, 2),
        "EDP_Jcycle": float(f"{energy * stats.cycles:.2e}"), **per_compute,
    }  # fmt: skip


def _per_compute(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in text.split(";"):
        name, _, value = part.strip().partition("=")
        try:
            found[f"{name}_fJ_per_compute"] = float(value)
        except ValueError:
            raise BadInput(f"per_compute holds {part[:60]!r}; give name=number; ...") from None
    return found
