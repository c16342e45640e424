"""Writing answers to a folder: all of the files or none of them."""

import contextlib
import os
from collections.abc import Mapping
from errno import EEXIST
from pathlib import Path

from aisys.errors import BadInput

PARTIAL = ".partial"


def write_files(folder: Path, contents: Mapping[str, str | bytes], option: str = "--out") -> tuple[Path, ...]:
    """Write each entry of `contents` (file name to text or bytes) into `folder`, replacing older files of those names.

    Every file is first written beside its place, under a name of this process, and renamed when all are complete.
    Raises BadInput, in one sentence that names `option` and with nothing new left behind, where the folder cannot be
    written.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    partial = {folder / name: folder / f"{name}.{os.getpid()}{PARTIAL}" for name in contents}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for (target, draft), content in zip(partial.items(), contents.values(), strict=True):
            if target.exists() and not target.is_file():  # a folder, or a device that a rename would replace
                raise OSError(EEXIST, f"{target.name} is there and no regular file")
            draft.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        for target, draft in partial.items():
            os.replace(draft, target)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BadInput(f"cannot write to {folder} ({reason}); give another folder with {option}") from None
    finally:  # a draft is left, and a new folder empty, only where this did not come to its end
        for draft in partial.values():
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()
    return tuple(partial)
