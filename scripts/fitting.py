"""What the fit scripts share: free constants with priors, robust least squares, folds, and TOML of the result."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from aisys.cost.gpu.stack import with_constants
from aisys.frozen import FrozenMap
from aisys.machine import Device, Gpu, residual
from aisys.units import Kind, Sourced

GENERATION = Path(__file__).parents[1] / "src" / "aisys" / "machine" / "catalog" / "generation"
PRIOR_WEIGHT = 0.1
"""Weight of one e-fold away from a prior, in the unit of one row's log error."""


@dataclass(frozen=True)
class Free:
    """One constant to fit, in log space: its prior, and the bounds that its meaning allows."""

    key: str
    prior: float
    low: float
    high: float


def tables_folder() -> Path:
    """The folder of measured tables. Raises SystemExit where AISYS_TABLES does not name it."""
    folder = os.environ.get("AISYS_TABLES")
    if not folder:
        raise SystemExit("set AISYS_TABLES to the folder that contains measured/")
    return Path(folder) / "measured"


def bare(device: Device, values: Mapping[str, float]) -> Device:
    """`device` with the constants of `values` and no others: nothing of an earlier fit reaches a new one."""
    assert isinstance(device.architecture, Gpu)
    return changed(replace(device, architecture=replace(device.architecture, constants=FrozenMap())), values)


def changed(device: Device, values: Mapping[str, float]) -> Device:
    """`device` with the constants of `values`."""
    sourced = {k: Sourced(v, source="being fitted", kind="fitted", key=k) for k, v in values.items()}
    return with_constants(device, sourced)


Predict = Callable[[Mapping[str, float], np.ndarray], np.ndarray]
"""predict(constants, rows) gives the predicted times of the chosen rows."""


def fit(
    predict: Predict, measured: np.ndarray, free: Sequence[Free], rows: np.ndarray, starts: int = 3
) -> dict[str, float]:
    """The constants of least robust log error on `rows`, the best of several starts, pulled weakly to their priors."""
    low, high = np.log([f.low for f in free]), np.log([f.high for f in free])
    prior = np.log([f.prior for f in free])
    target = np.log(measured[rows])
    random = np.random.default_rng(0)

    def residual(z: np.ndarray) -> np.ndarray:
        error = np.log(predict(dict(zip((f.key for f in free), np.exp(z), strict=True)), rows)) - target
        return np.concatenate([error, PRIOR_WEIGHT * (z - prior)])

    best = None
    for start in range(starts):
        first = prior if start == 0 else prior + random.normal(0, 0.5, len(prior))
        first = np.clip(first, low + 1e-6, high - 1e-6)
        found = least_squares(
            residual, first, bounds=(low, high), loss="soft_l1", f_scale=0.05, diff_step=1e-2, max_nfev=60
        )
        best = found if best is None or found.cost < best.cost else best
    return {f.key: float(v) for f, v in zip(free, np.exp(best.x), strict=True)}


def unseen(
    predict: Predict, measured: np.ndarray, free: Sequence[Free], groups: np.ndarray | None = None, num_folds: int = 4
) -> np.ndarray:
    """The prediction of every row by a fit that saw no row of its group (by default every row is its own group)."""
    groups = np.arange(len(measured)) if groups is None else groups
    names, index = np.unique(groups, return_inverse=True)
    fold = (np.random.default_rng(1).permutation(len(names)) % num_folds)[index]
    out = np.zeros(len(measured))
    for number in range(num_folds):
        test = np.flatnonzero(fold == number)
        out[test] = predict(fit(predict, measured, free, np.flatnonzero(fold != number), 2), test)
    return out


def interval(measured: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """90 % factors on a predicted time, from predictions of unseen rows; wider where few rows tell their tails."""
    log = np.log(measured / predicted)
    low, high = np.quantile(log, [0.05, 0.95])
    widen = 1.05 + 4 / len(log)
    return float(np.exp(widen * min(low, -0.02))), float(np.exp(widen * max(high, 0.02)))


def widened(values: Mapping[str, float]) -> dict[str, float]:
    """The intervals among `values` for what no row may speak of (another generation, an op like it): twice as wide.

    Source: assumed; attention of H100 priced with constants of A100 misses by about twice what it misses on A100.
    """
    return {key: value**2 for key, value in values.items() if ".error_" in key and ".limit." not in key}


def checked_interval(measured: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Coverage and width of intervals made from one half of unseen predictions and tried on the other, both ways."""
    half = np.random.default_rng(2).permutation(len(measured)) % 2 == 0
    covered, widths = [], []
    for of in (half, ~half):
        low, high = interval(measured[of], predicted[of])
        ratio = measured[~of] / predicted[~of]
        covered.append((ratio >= low) & (ratio <= high))
        widths.append(high - low)
    return float(np.concatenate(covered).mean()), float(np.mean(widths))


def regression(features: np.ndarray, measured: np.ndarray, seen: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Times of the rows `asked` by a quadratic in the logarithms of the shape, fitted on the rows `seen`."""
    log = np.log(features)
    pairs = [log[:, i] * log[:, j] for i in range(log.shape[1]) for j in range(i + 1)]
    design = np.column_stack([np.ones(len(log)), log, *pairs])
    weights, *_ = np.linalg.lstsq(design[seen], np.log(measured[seen]), rcond=None)
    return np.asarray(np.exp(design[asked] @ weights))


def summary(measured: np.ndarray, predicted: np.ndarray) -> str:
    """Mean, median and bias of the relative error, in percent."""
    signed = predicted / measured - 1
    ape = 100 * np.abs(signed)
    return f"{len(ape)} rows, mape {ape.mean():.1f} %, median {np.median(ape):.1f} %, bias {100 * signed.mean():+.1f} %"


def calibrated(
    features: np.ndarray, missed: np.ndarray, lengths: np.ndarray, groups: np.ndarray | None = None, num_folds: int = 5
) -> np.ndarray:
    """The factor that rows of other groups (by default: other rows) teach for every row; missed: log errors."""
    groups = np.arange(len(missed)) if groups is None else groups
    fold = np.random.default_rng(2).permutation(groups.max() + 1)[groups] % num_folds
    out = np.ones(len(missed))
    for number in range(num_folds):
        seen, asked = fold != number, fold == number
        if seen.sum() >= residual.MIN_ROWS and asked.any():
            out[asked] = np.exp(residual.fit(features[seen], missed[seen], lengths).log_correction(features[asked]))
    return out


def write_residuals(name: str, source: str, found: Mapping[str, residual.Residual]) -> None:
    """Writes `<name>.toml` of the residual catalogue: variant to what it teaches."""
    lines = ["[[facts]]", f'source = "{source}"', 'kind = "fitted"']
    for variant, one in found.items():
        key = f'"{variant}"' if not variant.replace("_", "").isalnum() else variant
        lines += [f"{key}.{field} = {_numbers(value)}" for field, value in one.as_dict().items()]
    (GENERATION.parent / "residual" / f"{name}.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _numbers(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_numbers(item) for item in value)}]"
    return f"{float(str(value)):.4g}"


def write(name: str, groups: Sequence[tuple[str, Kind, Mapping[str, float]]]) -> None:
    """Writes `<name>.toml` of the generation catalogue: one [[facts]] per (source, kind, constants)."""
    blocks = []
    for source, kind, values in groups:
        lines = [f"{key} = {value:.4g}" for key, value in sorted(values.items())]
        blocks.append("\n".join(["[[facts]]", f'source = "{source}"', f'kind = "{kind}"', *lines]))
    (GENERATION / f"{name}.toml").write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
