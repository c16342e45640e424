"""What a table of measurements teaches a model: the part of its error that rows nearby in shape have in common.

Kernel ridge regression of log(measured / predicted): a row's correction is the weighted mean of what similar rows
missed, and shrinks to the mean part (nothing, for times) away from every row. Corrections that ship lie in
machine/catalog/residual; those from a person's own table travel with the device or the link, as constants.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from aisys.errors import BadInput
from aisys.frozen import FrozenMap
from aisys.machine.architecture import Gpu
from aisys.units import Sourced

Floats = NDArray[np.float64]

MAX_LOG = 0.4
"""Largest log error that is learned: what is further off is no smooth trend of the model."""
OWN = "residual."
"""Begins the constants of an attached residual."""

UNDER = "under."
"""Begins the constant that says under which stack a device stands."""

MIN_ROWS = 8
"""Fewer rows of one kind teach nothing."""
_MAX_ROWS = 1024
_WIDER, _WIDER_OF_FEW, _LEAST_LOG = 1.05, 4, 0.02
"""How much wider than the quantiles of rows left out an interval is, in log; how much more, times 1 / rows, where few
tell their tails; and its least side. Source: the rule of scripts/fitting.py; on 22 tables of unseen kernels it covers
85, 88, 88 and 90 % with 8, 14, 20 and 80 rows."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Residual:
    """Log correction as a function of features: mean + slope . (x - centre) + sum of weights of similar points.

    lengths: the distance per feature over which rows are alike. points [n, features], weights [n]. error_low,
    error_high: 90 % interval of the corrected prediction, as factors, from rows that were left out one at a time.
    is_own: learned from rows of the very device or link that holds it.
    """

    lengths: Floats
    centre: Floats
    slope: Floats
    mean: float
    points: Floats
    weights: Floats
    error_low: float
    error_high: float
    is_own: bool = False

    def log_correction(self, features: Floats) -> Floats:
        """The correction of every row of `features` [rows, features]."""
        near = [
            _similarity(features[start : start + _MAX_ROWS], self.points, self.lengths) @ self.weights
            for start in range(0, len(features), _MAX_ROWS)
        ]
        return np.asarray(self.mean + (features - self.centre) @ self.slope + np.concatenate([np.zeros(0), *near]))

    def as_dict(self) -> dict[str, object]:
        """Fields as plain lists, for a TOML file or for constants."""
        arrays = ("lengths", "centre", "slope", "points", "weights")
        lists: dict[str, object] = {name: getattr(self, name).tolist() for name in arrays}
        return {**lists, "mean": self.mean, "error_low": self.error_low, "error_high": self.error_high}

    @classmethod
    def from_dict(cls, fields: Mapping[str, object], *, is_own: bool = False) -> "Residual":
        """The residual that `as_dict` described."""

        def array(name: str) -> Floats:
            return np.array(fields[name], dtype=float)

        return cls(
            lengths=array("lengths"), centre=array("centre"), slope=array("slope"), weights=array("weights"),
            points=array("points").reshape(-1, array("lengths").size), mean=float(array("mean")),
            error_low=float(array("error_low")), error_high=float(array("error_high")), is_own=is_own,
        )  # fmt: skip


def fit(
    features: Floats, log_residual: Floats, lengths: Floats, *, noise: float = 0.8, slope_weight: float = 0.0
) -> Residual:
    """The residual that explains `log_residual` [rows] by `features` [rows, features].

    noise: how much a row is trusted, relative to the spread that the kernel explains. slope_weight: 0 for a correction
    that vanishes away from all rows; above 0, a mean and a linear trend as well, held by that prior.
    Raises BadInput for fewer than 8 rows: a handful of rows is noise.
    """
    if len(features) < MIN_ROWS:
        raise BadInput(f"calibration: {len(features)} rows of one kind; give at least {MIN_ROWS}")
    centre, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
    mean = float(log_residual.mean()) if slope_weight else 0.0
    target = log_residual - mean if slope_weight else np.clip(log_residual, -MAX_LOG, MAX_LOG)
    scaled = slope_weight * (features - centre) / spread
    kernel = _similarity(features, features, lengths) + scaled @ scaled.T
    inverse = np.linalg.inv(kernel + noise**2 * np.eye(len(features)))
    weights = inverse @ target
    left_out = weights / np.diag(inverse)
    tails = (_WIDER + _WIDER_OF_FEW / len(features)) * np.quantile(left_out, [0.05, 0.95])
    low, high = np.exp([min(tails[0], -_LEAST_LOG), max(tails[1], _LEAST_LOG)])
    return Residual(
        lengths=np.asarray(lengths, dtype=float), centre=centre, slope=slope_weight * (scaled.T @ weights) / spread,
        mean=mean, points=features, weights=weights, error_low=float(low), error_high=float(high),
    )  # fmt: skip


def _similarity(a: Floats, b: Floats, lengths: Floats) -> Floats:
    left, right = a / lengths, b / lengths
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * left @ right.T
    return np.asarray(np.exp(-np.maximum(squares, 0) / 2))


def name_of(kind: str, variant: str, stack: str = "") -> str:
    """What a residual is called: the kind of op, the stack whose kernels ran ("" for any), the variant.

    >>> name_of("attention", "decode.bf16.fp8", "trtllm")
    'attention.trtllm:decode/bf16/fp8'
    """
    return f"{kind}.{stack}{':' if stack else ''}{variant.replace('.', '/')}"


def attached(
    constants: Mapping[str, Sourced], owner: str, name: str, residual: Residual, source: str
) -> FrozenMap[str, Sourced]:
    """`constants` of the device or link `owner` with a residual of its own for `name`, learned from `source`."""
    prefix = _prefix(name)
    kept = {key: value for key, value in constants.items() if not key.startswith(prefix)}
    for field, values in residual.as_dict().items():
        flat = np.ravel(np.array(values, dtype=float))
        for i, value in enumerate(flat):
            key = f"{prefix}{field}.{i}"
            kept[key] = Sourced(float(value), source=source, kind="fitted", key=f"{owner}.{key}")
    return FrozenMap(kept)


def mean_key(name: str) -> str:
    """The constant that tells where the residual for `name` comes from."""
    return f"{_prefix(name)}mean.0"


@lru_cache(maxsize=1024)
def has_own(constants: FrozenMap[str, Sourced]) -> bool:
    """Whether any residual was attached to `constants`."""
    return any(key.startswith(OWN) for key in constants)


@lru_cache(maxsize=1024)
def own(constants: FrozenMap[str, Sourced], name: str) -> Residual | None:
    """The residual for `name` that was attached to `constants`, or None."""
    prefix = _prefix(name)
    found: dict[str, list[float]] = {}
    for key, value in constants.items():
        if key.startswith(prefix):
            found.setdefault(key.removeprefix(prefix).split(".")[0], []).append(float(value))
    if not found:
        return None
    scalars = {field: found[field][0] for field in ("mean", "error_low", "error_high")}
    return Residual.from_dict({**found, **scalars}, is_own=True)


@lru_cache(maxsize=1024)
def of(gpu: Gpu, name: str) -> Residual | None:
    """The residual for `name` of this device: its own, or that of its generation, or None.

    Where the device stands under a stack (`under.STACK` among its constants), that of the stack comes first.
    Constants that were not fitted on the generation's rows (`transfer`) have no residual.
    """
    kind, variant = name.split(".", 1)
    names = [name_of(kind, variant, stack) for stack in _stacks(gpu)] + [name]
    for one in names:
        found = own(gpu.constants, one)
        if found is not None:
            return found
    if f"{kind}.has_residual" not in gpu.constants:
        return None
    ship = shipped(gpu.generation, kind)
    return next((ship[one] for one in (n.removeprefix(f"{kind}.") for n in names) if one in ship), None)


def _stacks(gpu: Gpu) -> list[str]:
    return [key.removeprefix(UNDER) for key in gpu.constants if key.startswith(UNDER)]


@lru_cache(maxsize=64)
def shipped(generation: str, kind: str) -> Mapping[str, Residual]:
    """Variant to the residual that ships for a generation and a kind of op; empty where none was fitted."""
    file = files("aisys.machine") / "catalog" / "residual" / f"{generation}.{kind}.toml"
    if not file.is_file():
        return {}
    groups = tomllib.loads(file.read_text(encoding="utf-8"))["facts"]
    variants = {name: fields for group in groups for name, fields in group.items() if isinstance(fields, dict)}
    return {name: Residual.from_dict(fields) for name, fields in variants.items()}


def _prefix(name: str) -> str:
    return f"{OWN}{name}."
