"""Where named machine files lie: the catalogue that ships, and files of the user's own."""

import os
import re
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Literal

from aisys.errors import BadInput, UnknownName, unknown_name
from aisys.frozen import FrozenMap
from aisys.machine.facts import Entry, entry, head, parse, read_bytes

Sort = Literal["device", "link", "machine"]
Constants = Literal["fitted", "transfer"]

FOLDER = Path(__file__).parent / "catalog"
MAX_BASES = 8
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


def names(sort: Sort) -> tuple[str, ...]:
    """The names in the catalogue, sorted."""
    return tuple(sorted(stem for stem in _stems(FOLDER / sort) if "." not in stem))


def aliases(sort: Sort) -> dict[str, str]:
    """Every alias in the catalogue, and the name that it stands for."""
    folder = FOLDER / sort
    return {alias: name for name in names(sort) for alias in _aliases(read_bytes(folder / f"{name}.toml"), name)}


def is_path(name: str) -> bool:
    """Whether `name` means a file of the user's own."""
    return name.endswith(".toml") or os.sep in name


def path_of(sort: Sort, name: str) -> Path | None:
    """The catalogue file of `name` or of an alias; case, spaces and punctuation do not matter. None where none is."""
    direct = FOLDER / sort / f"{name}.toml"
    if _NAME.fullmatch(name) and direct.is_file():
        return direct
    wanted = plain(name)
    for known, stem in (*((n, n) for n in names(sort)), *aliases(sort).items()):
        if plain(known) == wanted:
            return FOLDER / sort / f"{stem}.toml"
    return None


def find(sort: Sort, name: str, folder: Path | None = None) -> Entry:
    """The entry of a catalogue name, an alias, or a file (seen from `folder`), with the facts of its bases.

    Raises UnknownName with the nearest names.
    """
    if is_path(name):
        return with_bases(sort, entry((folder or Path()) / name))
    path = path_of(sort, name)
    if path is None:
        raise unknown(sort, name, sort)
    return with_bases(sort, entry(path))


def unknown(what: str, name: str, *sorts: Sort) -> UnknownName:
    """An UnknownName with the nearest names and aliases of `sorts`."""
    short = {known for sort in sorts for known in names(sort)}
    every = short | {alias.lower() for sort in sorts for alias in aliases(sort)}
    return unknown_name(what, name, every if get_close_matches(name.lower(), every, cutoff=0.5) else short)


def with_bases(sort: Sort, first: Entry, depth: int = 0) -> Entry:
    """`first` over its base, its base's base, and so on: what it says itself wins."""
    base = first.words.get("base")
    if base is None:
        return first
    if depth >= MAX_BASES:
        raise BadInput(f"{first.origin}: base {base!r} leads through more than {MAX_BASES} files; is it a circle?")
    folder = Path(first.origin).parent
    path = folder / base if is_path(base) else path_of(sort, base)
    if path is None:
        raise BadInput(f"{first.origin}: base: {unknown(sort, base, sort)}")
    return over(first, with_bases(sort, entry(path), depth + 1))


@lru_cache(maxsize=1024)
def over(first: Entry, base: Entry) -> Entry:
    """`first` with what `base` says where `first` says nothing. The word `base` of the result is the root's name."""
    lists = {key.rsplit(".", 1)[0] for key in first.facts if key.rsplit(".", 1)[-1].isdigit()}
    kept = {key: value for key, value in base.facts.items() if key.rsplit(".", 1)[0] not in lists}
    words = {f: w for f, w in base.words.items() if f not in first.parts} | dict(first.words)
    words["base"] = base.words.get("base", base.name)
    parts = {f: p for f, p in base.parts.items() if f not in first.words} | dict(first.parts)
    for field in first.parts.keys() & base.parts.keys():
        parts[field] = over(first.parts[field], base.parts[field])
    return Entry(
        name=first.name, origin=first.origin, aliases=first.aliases, words=FrozenMap(words),
        facts=FrozenMap({**kept, **first.facts}), parts=FrozenMap(parts),
    )  # fmt: skip


def generation(name: str, constants: Constants) -> Entry | None:
    """The fitted constants of a GPU generation, all topics together; None where the catalogue has none.

    `transfer` takes, per topic, the constants from a fit that has seen no row of that generation, and the plain ones
    of a topic that was never fitted on it. Raises BadInput where no topic of the generation has such a fit.
    """
    return _topics(FOLDER / "generation", name, constants)


def link_constants(found: Entry, constants: Constants) -> Entry | None:
    """The constants beside the catalogue file of a link, or of its base, as `NAME.TOPIC.toml`; None without any."""
    names = [found.name] if Path(found.origin).parent == FOLDER / "link" else []
    if "base" in found.words:
        names.append(found.words["base"])
    return next((topics for name in names if (topics := _topics(FOLDER / "link", name, constants))), None)


def _topics(folder: Path, name: str, constants: Constants) -> Entry | None:
    if not _NAME.fullmatch(name):
        return None
    stems = [stem for stem in _stems(folder) if stem.startswith(f"{name}.")]
    transfer = {stem for stem in stems if stem.endswith(".transfer")}
    chosen = {stem for stem in stems if stem not in transfer}
    if constants == "transfer":
        chosen = {stem for stem in chosen if f"{stem}.transfer" not in transfer} | transfer
    if not chosen:
        return None
    texts = tuple((stem, read_bytes(folder / f"{stem}.toml")) for stem in sorted(chosen))
    return _joined(name, texts)


def generations() -> frozenset[str]:
    """The GPU generations that the catalogue holds constants of."""
    return frozenset(stem.split(".", 1)[0] for stem in _stems(FOLDER / "generation"))


def has_transfer(name: str) -> bool:
    """Whether any topic of generation `name` was fitted without its rows."""
    return any(s.startswith(f"{name}.") and s.endswith(".transfer") for s in _stems(FOLDER / "generation"))


@lru_cache(maxsize=256)
def _joined(name: str, texts: tuple[tuple[str, bytes], ...]) -> Entry:
    entries = [parse(text, f"{stem}.toml", name) for stem, text in texts]
    facts = {key: value for one in entries for key, value in one.facts.items()}
    if len(facts) < sum(len(one.facts) for one in entries):
        twice = [key for key in facts if sum(key in one.facts for one in entries) > 1]
        raise BadInput(
            f"{name}: {twice[0]} stands in more than one of {', '.join(stem for stem, _ in texts)}; keep one"
        )
    return Entry(
        name=name, origin=f"{name}.*.toml", words=FrozenMap(), aliases=(), facts=FrozenMap(facts), parts=FrozenMap()
    )


@lru_cache(maxsize=4096)
def _aliases(text: bytes, name: str) -> tuple[str, ...]:
    return head(text, f"{name}.toml")


def _stems(folder: Path) -> list[str]:
    return [name.removesuffix(".toml") for name in os.listdir(folder) if name.endswith(".toml")]


def plain(name: str) -> str:
    """`name` as it is compared: its letters and digits, in one case."""
    return "".join(character for character in name.casefold() if character.isalnum())
