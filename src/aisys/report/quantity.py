"""Numbers as people read them: three digits and a prefix (1.83 s, 412 µs, 68.7 GB, 989 Tflop/s)."""

from math import floor, isfinite, log10

_PREFIXES = {-4: "p", -3: "n", -2: "µ", -1: "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T", 5: "P", 6: "E"}


def number(value: float, digits: int = 3) -> str:
    """`value` with `digits` significant digits and thousands separators; never an exponent below a trillion.

    >>> number(0.04123), number(1234.5), number(98.76), number(0)
    ('0.0412', '1,230', '98.8', '0')
    """
    if not isfinite(value):
        return "-"
    if value == 0:
        return "0"
    if abs(value) >= 1e12 or abs(value) < 1e-6:
        return f"{value:.{digits - 1}e}"
    rounded = round(value, digits - 1 - floor(log10(abs(value))))
    decimals = digits - 1 - floor(log10(abs(rounded)))
    return f"{rounded:,.{max(0, decimals)}f}"


def scaled(value: float, unit: str, digits: int = 3) -> str:
    """`value` in `unit` with the SI prefix that leaves one to three digits before the point.

    >>> scaled(0.00183, "s"), scaled(68.7e9, "B"), scaled(999.9e12, "flop/s")
    ('1.83 ms', '68.7 GB', '1.00 Pflop/s')
    """
    if not isfinite(value):
        return "-"
    if value == 0:
        return f"0 {unit}"
    rounded = float(f"{value:.{digits - 1}e}")
    power = min(max(floor(log10(abs(rounded)) / 3), -4), 6)
    return f"{number(rounded / 1000**power, digits)} {_PREFIXES[power]}{unit}"


def seconds(value: float) -> str:
    """A time; minutes and more from two minutes on.

    >>> seconds(0.0312), seconds(300)
    ('31.2 ms', '5.00 min')
    """
    if value < 120 or not isfinite(value):
        return scaled(value, "s") if value < 1 or not isfinite(value) else f"{number(value)} s"
    return f"{number(value / 60)} min" if value < 7200 else f"{number(value / 3600)} h"


def gigabytes(value: float) -> str:
    """Bytes as GB (10^9), less than 0.01 of them with a smaller prefix.

    >>> gigabytes(68.7e9), gigabytes(276480)
    ('68.7 GB', '276 kB')
    """
    if 0 < abs(value) < 1e7:
        return scaled(value, "B")
    return f"{number(value / 1e9)} GB" if isfinite(value) else "-"


def percent(share: float, digits: int = 3) -> str:
    """A share in percent.

    >>> percent(0.4217)
    '42.2 %'
    """
    return f"{number(share * 100, digits)} %" if isfinite(share) else "-"


def interval(low: float, high: float) -> str:
    """An interval of times with one unit where both ends share it; "none" where no measurement gave one.

    >>> interval(1.7, 1.98), interval(0.9, 1.2), interval(float("nan"), float("nan"))
    ('1.70 - 1.98 s', '900 ms - 1.20 s', 'none')
    """
    if not (isfinite(low) and isfinite(high)):
        return "none"
    first, last = seconds(low), seconds(high)
    if first.rsplit(" ", 1)[-1] == last.rsplit(" ", 1)[-1]:
        first = first.rsplit(" ", 1)[0]
    return f"{first} - {last}"


def time_unit(longest: float) -> tuple[float, str]:
    """The unit that suits times up to `longest` seconds, and how many of it a second has.

    >>> time_unit(0.02)
    (1000.0, 'ms')
    """
    return (1.0, "s") if longest >= 1 else (1e3, "ms") if longest >= 1e-3 else (1e6, "µs")
