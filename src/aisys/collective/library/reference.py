"""The constants that a library needs of a link: the link's own, or those of the known link of its technology."""

from aisys.errors import Unsupported
from aisys.machine import Link
from aisys.machine import link as named_link
from aisys.machine.residual import OWN

REFERENCE = {
    "nvswitch": "nvswitch-h100",
    "xgmi": "nvswitch-a100",
    "nvlink": "nvlink-pair-a100",
    "pcie": "pcie4-x16-two-sockets",
    "infiniband": "infiniband-ndr400",
    "ethernet": "roce-400",
}
"""Technology to the link whose fitted constants stand in for a link that has none of its own (assumed)."""


REFERENCE_ERROR = (0.6, 1.7)
"""Factors that widen the interval of a link which takes the constants of another (assumed)."""


def constants_of(link: Link, library: str) -> tuple[dict[str, float], frozenset[str]]:
    """The constants of `library` by name without its prefix, and their keys.

    Raises Unsupported for a technology that the library was never measured on.
    """
    prefix = f"{library}."
    found: dict[str, float] = {k.removeprefix(prefix): v for k, v in link.constants.items() if k.startswith(prefix)}
    keys = frozenset(v.key for k, v in link.constants.items() if v.key and not k.startswith(OWN))
    if not found:
        if link.technology not in REFERENCE:
            raise Unsupported(
                f"{library} on link {link.name!r}: no constants for technology {link.technology!r}; use one of "
                f"{', '.join(REFERENCE)}, or library='ring'"
            )
        reference = named_link(REFERENCE[link.technology])
        keys = frozenset(value.key for value in reference.constants.values())
        found = {
            k.removeprefix(prefix): v * _widening(k) for k, v in reference.constants.items() if k.startswith(prefix)
        }
    return found, keys


def _widening(key: str) -> float:
    if key.endswith("error_low"):
        return REFERENCE_ERROR[0]
    return REFERENCE_ERROR[1] if key.endswith("error_high") else 1.0
