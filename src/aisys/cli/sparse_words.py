"""Words of `aisys map` about zeros: `weight=2:4`, `weight@dram=rlc4`, `weight=skip:4`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aisys.cost.loop_nest import Einsum, Hierarchy, Operand
    from aisys.ir.density import Density

FILES = (".npy", ".npz")


def with_density(einsum: "Einsum", words: list[str]) -> "Einsum":
    """The einsum whose operands have the zeros that `weight=2:4` or `weight=FILE.npz` say."""
    for word in words:
        name, text = _split(word, "density", "weight=2:4")
        einsum = einsum.with_density(einsum.operand(name).name, _density(name, text))
    return einsum


def with_zeros(array: "Hierarchy", einsum: "Einsum", formats: list[str], zeros: list[str]) -> "Hierarchy":
    """The array that stores operands as `weight@dram=rlc4` says and looks for zeros as `weight=skip:4` does.

    Raises BadInput where densities are given that nothing makes use of.
    """
    from aisys.errors import BadInput
    from aisys.ir.sparse_format import read_format

    for word in formats:
        place, text = _split(word, "format", "weight@dram=bitmap")
        name, _, level = place.partition("@")
        operand = _read(einsum, name)
        if level and operand.role not in array.levels[array.index(level)].keeps:
            raise BadInput(f"format {word}: {level} keeps no {operand.role}s; leave @{level} out for all that do")
        array = array.storing(operand.role, read_format(text), level)
    for word in zeros:
        name, text = _split(word, "zeros", "weight=skip")
        array = array.looking(_read(einsum, name).role, text)
    for operand in einsum.operands:
        if operand.density.density < 1 and not _is_used(array, operand.role):
            raise BadInput(
                f"{operand.name} has zeros, which {array.name} neither leaves out of memory nor looks for; "
                f"add --format {operand.name}=bitmap or --zeros {operand.name}=gate"
            )
    return array


def _is_used(array: "Hierarchy", role: str) -> bool:
    return role in array.zeros or any(role in level.formats for level in array.levels)


def _read(einsum: "Einsum", name: str) -> "Operand":
    """An operand that is read. Raises BadInput for another."""
    from aisys.errors import BadInput

    operand = einsum.operand(name)
    if operand.role == "output":
        raise BadInput(f"{name} is written, and its sums may be anything; name an operand that is read")
    return operand


def _split(word: str, flag: str, example: str) -> tuple[str, str]:
    from aisys.errors import BadInput

    name, equals, text = word.partition("=")
    if not (name and equals and text):
        raise BadInput(f"--{flag} {word[:60]!r} is not of the form OPERAND=VALUE; write for example {example}")
    return name, text


def _density(name: str, text: str) -> "Density":
    from aisys.ir.density import Histogram, read_density

    return Histogram.of(_array(name, Path(text))) if text.endswith(FILES) else read_density(text)


def _array(name: str, path: Path) -> Any:
    """The tensor of a file; of several in an npz, the one of that name."""
    import numpy as np

    from aisys.errors import BadInput, unknown_name

    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise BadInput(f"{path}: cannot be read; give an array that numpy.save or numpy.savez wrote") from None
    if isinstance(found, np.ndarray):
        return found
    with found:
        if len(found.files) != 1 and name not in found.files:
            raise unknown_name(f"array of {path}", name, found.files)
        return found[name if name in found.files else found.files[0]]
