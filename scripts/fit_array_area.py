"""Fits the area and the clock of generated arrays to src/aisys/rtl/ecp5-85k.csv and writes area.toml beside the model.

    python scripts/fit_array_area.py

4x4 and 8x8 take no part in the fit, nor do arrays that are not square, nor sparse ones; their errors are printed. What
is counted (cells.py) has no constants: the fit is of the rest, per dataflow a constant and a share per column. The
clock has two constants that all kinds of array share; how far they miss a size that is left out of the fit is printed
too, which is how a share per multiplier was preferred to one per row and column.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import aisys.rtl
from aisys.cost.generated_array.area import CONSTANTS, num_dsp
from aisys.cost.generated_array.cells import counted_luts, counted_registers
from aisys.cost.generated_array.design import DATAFLOWS, ArrayDesign
from aisys.validate.table import Table, read_table

TABLE = Path(aisys.rtl.__file__).parent / "ecp5-85k.csv"
CHECKED = (4, 8)
SOURCE = "scripts/fit_array_area.py on rtl/ecp5-85k.csv, square arrays other than 4x4 and 8x8"
COUNTED = {"lut": counted_luts, "ff": counted_registers}
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def design(table: Table, row: int) -> ArrayDesign:
    """The array of one row."""
    rows, cols = table.counts("rows")[row], table.counts("cols")[row]
    sparsity = str(table.texts("sparsity")[row])
    return ArrayDesign(
        rows=int(rows), cols=int(cols), dataflow=str(table.texts("dataflow")[row]),
        is_pipelined=table.texts("is_pipelined")[row] == "1",
        sparsity=tuple(map(int, sparsity.split(":"))) if sparsity else None,
    )  # fmt: skip


def least_squares(x: Floats, y: Floats) -> Floats:
    """Constants with the least sum of squared relative errors."""
    return np.asarray(np.linalg.lstsq(x / y[:, None], np.ones(len(y)), rcond=None)[0])


def area(table: Table, designs: list[ArrayDesign], fitted: Flags, column: str) -> tuple[dict[str, Floats], Floats]:
    """Per dataflow the constant and the share per column of what is not counted; and what the model says, per row."""
    counted = np.array([COUNTED[column](design) for design in designs], float)
    x, y = np.stack([np.ones(len(table)), table.numbers("cols")], axis=1), table.numbers(column)
    constants, predicted = dict[str, Floats](), np.full(len(table), np.nan)
    for dataflow in DATAFLOWS:
        mine = np.array([design.dataflow == dataflow for design in designs])
        use = mine & fitted
        constants[dataflow] = np.linalg.lstsq(x[use], y[use] - counted[use], rcond=None)[0]
        predicted[mine] = counted[mine] + x[mine] @ constants[dataflow]
    return constants, predicted


def clock(table: Table, designs: list[ArrayDesign], fitted: Flags) -> tuple[Floats, Floats]:
    """Period in ns: a constant and a share per multiplier, which all kinds have in common. And the clock in MHz."""
    fmax = table.numbers("fmax_mhz", empty=np.nan)
    use = fitted & ~np.isnan(fmax)
    x = np.stack([np.ones(len(table)), [float(num_dsp(design)) for design in designs]], axis=1)
    found = least_squares(x[use], 1e3 / fmax[use])
    return found, 1e3 / (x @ found)


def left_out(table: Table, designs: list[ArrayDesign], fitted: Flags) -> float:
    """Root mean square of the relative errors of the clock, each size fitted without itself."""
    fmax, sizes = table.numbers("fmax_mhz", empty=np.nan), table.counts("rows")
    errors = []
    for size in np.unique(sizes[fitted]):
        _, predicted = clock(table, designs, fitted & (sizes != size))
        errors.append((predicted / fmax - 1)[fitted & (sizes == size) & ~np.isnan(fmax)])
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


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


def lines(area: dict[str, dict[str, Floats]], period: Floats) -> Iterator[str]:
    def numbers(values: Floats) -> str:
        return f"[{', '.join(f'{value:.6g}' for value in values)}]"

    yield "# Written by scripts/fit_array_area.py; do not edit."
    yield f'source = "{SOURCE}"'
    yield 'kind = "fitted"'
    for dataflow in DATAFLOWS:
        yield f"\n[dataflows.{dataflow}]"
        yield from (f"{column} = {numbers(constants[dataflow])}" for column, constants in area.items())
    yield f"\n[clock]\nperiod_ns = {numbers(period)}"


def main() -> None:
    table = read_table(TABLE)
    designs = [design(table, row) for row in range(len(table))]
    is_square = table.counts("rows") == table.counts("cols")
    fitted = is_square & ~np.isin(table.counts("rows"), CHECKED) & (table.texts("sparsity") == "")
    names = [design.name for design in designs]
    constants: dict[str, dict[str, Floats]] = {}
    for column in COUNTED:
        constants[column], predicted = area(table, designs, fitted, column)
        report(column, names, predicted, table.numbers(column), fitted)
    period, predicted = clock(table, designs, fitted)
    report("clock", names, predicted, table.numbers("fmax_mhz", empty=np.nan), fitted)
    print(f"clock: sizes left out of the fit {100 * left_out(table, designs, fitted):.1f} % (root mean square)")
    CONSTANTS.write_text("\n".join(lines(constants, period)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
