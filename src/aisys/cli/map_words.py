"""Words like m=512 of `aisys map`."""

from typing import Any

from aisys.errors import BadInput, unknown_name


def numbers(kind: str, words: list[str], known: tuple[str, ...]) -> dict[str, Any]:
    """The whole numbers that `words` give to the names of `known`. Raises UnknownName, or BadInput for another form."""
    given: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise BadInput(f"{word[:60]!r} is not of the form NAME=VALUE; write for example m=512")
        if name not in known:
            raise unknown_name(f"argument of {kind}", name, known)
        if name in given:
            raise BadInput(f"{name} is given twice; give it once")
        digits = text.replace("_", "")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 13 and int(digits)):
            raise BadInput(f"{name}={text[:40]} is not a whole number from 1 to 1e12")
        given[name] = int(digits)
    return given
