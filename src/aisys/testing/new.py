"""A start for an idea of your own: an installable package with the plug-in, its kit test and a study."""

import keyword
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from string import Template
from tempfile import mkdtemp

from aisys import plugins
from aisys.errors import BadInput

TEMPLATES = Path(__file__).parent / "template"
SENTENCES = {
    "technique": "A technique of our own: optimizer states in fewer bits.",
    "cost": "A cost model of our own: a device that is a roofline.",
    "collective": "A collective of our own: everything through rank 0.",
    "schedule": "A schedule of our own: forwards, then backwards, oldest first.",
    "workload": "A workload of our own: feed-forward layers between an embedding and a head.",
}


def new(kind: str, name: str, folder: Path) -> list[Path]:
    """The files of a new package `name` with a plug-in of `kind`, written into `folder`/`name`.

    pyproject.toml (which names the entry point), NAME.py, test_NAME.py and study_NAME.py; all of them run as they are.
    Raises UnknownName for a kind, BadInput for a name that is taken or no module name, and for a folder that exists.
    """
    plugins.names(kind)
    _check_name(kind, name)
    target = folder / name
    if target.exists():
        raise BadInput(f"{target} exists already; choose another name, or delete it")
    words = {
        "kind": kind, "name": name, "dashed": name.replace("_", "-"), "sentence": SENTENCES[kind],
        "class_name": "".join(word.capitalize() for word in name.split("_")),
    }  # fmt: skip
    sources = {
        "pyproject.toml": "pyproject", f"{name}.py": kind, f"test_{name}.py": f"{kind}_test",
        f"study_{name}.py": f"{kind}_study",
    }  # fmt: skip
    texts = {file: (TEMPLATES / f"{stem}.txt").read_text(encoding="utf-8") for file, stem in sources.items()}
    _write(target, {file: Template(text).substitute(words) for file, text in texts.items()})
    return [target / file for file in texts]


def _check_name(kind: str, name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or len(name) > 40 or keyword.iskeyword(name):
        raise BadInput(
            f"{name[:60]!r} is no name for a module; use small letters, digits and underscores, like my_idea"
        )
    if name in plugins.names(kind):
        raise BadInput(f"there is a {kind} {name!r} already; choose another name")
    if name in sys.stdlib_module_names or find_spec(name) is not None:
        raise BadInput(f"{name!r} is the name of an installed Python module; choose another name")


def _write(target: Path, texts: dict[str, str]) -> None:
    """All files, or none."""
    try:
        partial = Path(mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise BadInput(f"{target.parent}: cannot be written ({error.strerror}); choose another folder") from None
    try:
        for file, text in texts.items():
            (partial / file).write_text(text, encoding="utf-8")
        partial.chmod(0o755)
        partial.rename(target)
    except OSError as error:
        shutil.rmtree(partial)
        raise BadInput(f"{target}: cannot be written ({error.strerror}); choose another folder") from None
