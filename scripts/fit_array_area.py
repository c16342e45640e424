"""Fits the area and the clock of generated arrays to src/aisys/rtl/ecp5-85k.csv and writes area.toml beside the model.

    python scripts/fit_array_area.py

4x4 and 8x8 take no part in the fit; their errors are printed. Where a kind has too few placed sizes for a clock of its
own, all kinds share the slope.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import aisys.rtl
from aisys.cost.generated_array.area import CONSTANTS
from aisys.validate.table import Table, read_table

TABLE = Path(aisys.rtl.__file__).parent / "ecp5-85k.csv"
CHECKED = (4, 8)
SOURCE = "scripts/fit_array_area.py on rtl/ecp5-85k.csv, sizes other than 4x4 and 8x8"
Floats = NDArray[np.float64]


def kinds(table: Table) -> NDArray[np.str_]:
    """The kind of each row: its design without the size."""
    names = zip(table.texts("design"), table.texts("rows"), table.texts("cols"), strict=True)
    return np.array([name.replace(f"-{rows}x{cols}", "") for name, rows, cols in names])


def features(table: Table, num: int) -> Floats:
    """1, rows + cols, rows x cols: array [rows, num]."""
    rows, cols = table.numbers("rows"), table.numbers("cols")
    return np.stack([np.ones(len(rows)), rows + cols, rows * cols], axis=1)[:, :num]


def least_squares(x: Floats, y: Floats) -> Floats:
    """Constants with the least sum of squared relative errors."""
    return np.asarray(np.linalg.lstsq(x / y[:, None], np.ones(len(y)), rcond=None)[0])


def clock(table: Table, names: NDArray[np.str_], fitted: NDArray[np.bool_]) -> dict[str, Floats]:
    """Period in ns per kind: a constant of its own, and one slope over rows + cols that all kinds share."""
    fmax = table.numbers("fmax_mhz", empty=np.nan)
    use = fitted & ~np.isnan(fmax)
    if not use.any():
        return {}
    known = sorted(set(names[use]))
    own = np.array([[name == kind for kind in known] for name in names], float)
    x = np.concatenate([own, features(table, 2)[:, 1:]], axis=1)
    found = least_squares(x[use], 1e3 / fmax[use])
    return {kind: np.array([found[i], found[-1]]) for i, kind in enumerate(known)}


def report(what: str, name: Sequence[str], predicted: Floats, simulated: Floats, fitted: NDArray[np.bool_]) -> None:
    """Errors per checked row, and over them."""
    error = predicted / simulated - 1
    for design, e, is_fit in zip(name, error, fitted, strict=True):
        if not is_fit and not np.isnan(e):
            print(f"{what:10} {design:26} {100 * e:+6.1f} %")
    seen, unseen = np.abs(error[fitted]), np.abs(error[~fitted & ~np.isnan(error)])
    if len(unseen):
        print(f"{what}: unseen worst {100 * unseen.max():.1f} %, mean {100 * unseen.mean():.1f} %", end="; ")
    if not np.isnan(seen).all():
        print(f"fitted worst {100 * np.nanmax(seen):.1f} %")


def lines(constants: dict[str, dict[str, Floats]]) -> Iterator[str]:
    yield "# Written by scripts/fit_array_area.py; do not edit."
    yield f'source = "{SOURCE}"'
    yield 'kind = "fitted"'
    for kind, values in constants.items():
        yield f'\n[kinds."{kind}"]'
        yield from (f"{name} = [{', '.join(f'{v:.6g}' for v in value)}]" for name, value in values.items())


def main() -> None:
    table = read_table(TABLE)
    names, size = kinds(table), table.counts("rows")
    fitted = ~np.isin(size, CHECKED)
    periods = clock(table, names, fitted)
    constants: dict[str, dict[str, Floats]] = {}
    predicted = {column: np.full(len(table), np.nan) for column in ("lut", "ff", "fmax_mhz")}
    for kind in dict.fromkeys(names):
        mine = names == kind
        if (mine & fitted).sum() < 3:
            print(f"{kind}: fewer than 3 sizes to fit; left out")
            continue
        constants[kind] = {}
        for column in ("lut", "ff"):
            x, y = features(table, 3), table.numbers(column)
            constants[kind][column] = least_squares(x[mine & fitted], y[mine & fitted])
            predicted[column][mine] = x[mine] @ constants[kind][column]
        if kind in periods:
            constants[kind]["period_ns"] = periods[kind]
            predicted["fmax_mhz"][mine] = 1e3 / (features(table, 2)[mine] @ periods[kind])
    for column, values in predicted.items():
        report(column, list(table.texts("design")), values, table.numbers(column, empty=np.nan), fitted)
    CONSTANTS.write_text("\n".join(lines(constants)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
