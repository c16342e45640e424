"""Launch arguments that stand in a file: a script with the command, or torchtitan's TOML."""

import re
import tomllib
from pathlib import Path
from typing import Any

from aisys.errors import BadInput
from aisys.user_file import user_text

MAX_BYTES = 1_000_000


def launch_text(source: str) -> str:
    """The arguments as one line: `source` itself, or those in the file of that name.

    Raises BadInput for a file that cannot be read.

    >>> launch_text("--micro-batch-size 2")
    '--micro-batch-size 2'
    """
    if len(source) > 4096 or "\n" in source or not Path(source).is_file():
        return source
    path = Path(source)
    try:
        text = user_text(path, most_bytes=MAX_BYTES, wanted="give a launch script or a TOML file")
        if path.suffix == ".toml":
            return " ".join(_entries(tomllib.loads(text)))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadInput(f"{path}: cannot be read ({error}); give a launch script or a TOML file") from None
    return re.sub(r"(?m)(^|\s)#.*$", "", text.replace("\\\n", " ")).replace("\n", " ")


def _entries(state: dict[str, Any]) -> list[str]:
    sections = {name: entries for name, entries in state.items() if isinstance(entries, dict)}
    return [
        f"--{section}.{name}='{_text(value)}'"
        for section, entries in sections.items()
        for name, value in entries.items()
    ]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return (str(value).lower() if isinstance(value, bool) else str(value)).replace("'", "")
