"""Where numbers come from: every sourced number of a device or a machine, and the sources as BibTeX."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from aisys.units import Kind, Sourced

_ORDER: tuple[Kind, ...] = ("datasheet", "measured", "fitted", "assumed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source and the numbers (key, value) that rest on it. kind: datasheet, measured, fitted or assumed."""

    text: str
    kind: Kind
    numbers: tuple[tuple[str, float], ...]

    @property
    def link(self) -> str:
        """The web address that the text names, a DOI included; "" where it names none."""
        address = re.search(r"https?://[^\s,;)]+", self.text)
        if address:
            return address.group().rstrip(".")
        doi = re.search(r"\b10\.\d{4,9}/[^\s,;)]+", self.text)
        if doi:
            return f"https://doi.org/{doi.group().rstrip('.')}"
        arxiv = re.search(r"\barXiv[: ]\s?(\d{4}\.\d{4,5})", self.text, re.IGNORECASE)
        return f"https://arxiv.org/abs/{arxiv.group(1)}" if arxiv else ""


def numbers_of(noun: Any) -> dict[str, Sourced]:
    """Every sourced number inside a device, link or machine, by key.

    >>> from aisys.machine import device
    >>> numbers_of(device("h100-sxm"))["h100-sxm.num_sm"].kind
    'datasheet'
    """
    return {number.key: number for number in _walk(noun)}


def _walk(noun: Any) -> Iterator[Sourced]:
    if isinstance(noun, Sourced):
        yield noun
    elif is_dataclass(noun) and not isinstance(noun, type):
        for field in fields(noun):
            yield from _walk(getattr(noun, field.name))
    elif isinstance(noun, Mapping):
        for value in noun.values():
            yield from _walk(value)
    elif isinstance(noun, tuple):
        for value in noun:
            yield from _walk(value)


def grouped(numbers: Iterable[Sourced]) -> tuple[Source, ...]:
    """The sources of `numbers`, data sheets first and assumptions last, each with its numbers in order of key."""
    found: dict[tuple[str, Kind], dict[str, float]] = {}
    for number in numbers:
        found.setdefault((number.source, number.kind), {})[number.key] = float(number)
    sources = (
        Source(text=text, kind=kind, numbers=tuple(sorted(numbers.items()))) for (text, kind), numbers in found.items()
    )
    return tuple(sorted(sources, key=lambda s: (_ORDER.index(s.kind), s.text)))


def bibtex(sources: Iterable[Source]) -> str:
    """One @misc entry per source that can be cited; assumptions cannot, and are left out."""
    entries: dict[str, str] = {}
    for source in sources:
        if source.kind == "assumed":
            continue
        entry = _entry(source, entries)
        entries.setdefault(entry[0], entry[1])
    return "\n".join(entries.values())


def _entry(source: Source, taken: Mapping[str, str]) -> tuple[str, str]:
    year = re.search(r"\b(19|20)\d\d\b", source.text)
    words = re.findall(r"[A-Za-z][A-Za-z0-9]+", source.text)
    stem = "".join(word.capitalize() for word in words[:3]) + (year.group() if year else "")
    key, count = stem or "Source", 1
    while key in taken and f"title = {{{_tex(source.text)}}}" not in taken[key]:
        count += 1
        key = f"{stem}{chr(96 + count)}" if count <= 26 else f"{stem}{count}"
    lines = [f"@misc{{{key},", f"  title = {{{_tex(source.text)}}},"]
    if year:
        lines.append(f"  year = {{{year.group()}}},")
    if source.link:
        lines.append(f"  howpublished = {{\\url{{{source.link}}}}},")
    keys = ", ".join(name for name, _ in source.numbers[:6]) + (", ..." if len(source.numbers) > 6 else "")
    lines.append(f"  note = {{{source.kind}: {_tex(keys)}}},")
    return key, "\n".join([*lines, "}"]) + "\n"


def _tex(text: str) -> str:
    """`text` with the characters escaped that TeX reads as commands."""
    return "".join(_ESCAPES.get(character, character) for character in text)


_ESCAPES = {
    **{c: f"\\{c}" for c in "#$%&_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip
