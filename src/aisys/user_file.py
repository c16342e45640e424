"""Files that a user names: read within limits, or refused in one sentence."""

from pathlib import Path

from aisys.errors import BadInput


def user_text(path: Path, *, most_bytes: int, wanted: str) -> str:
    """The text of a regular file of at most `most_bytes` in UTF-8, without a byte-order mark.

    wanted: what to give instead, the end of the sentence. Raises BadInput for anything else, before reading it.
    """
    name = ascii(str(path))[:200] if not str(path).isprintable() else str(path)[:200]
    try:
        if not path.is_file() and path.exists():
            raise BadInput(f"{name}: not a regular file; {wanted}")
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except (OSError, ValueError) as error:
        raise BadInput(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error}); {wanted}") from None
    if len(content) > most_bytes:
        raise BadInput(f"{name}: larger than {most_bytes:,} bytes; {wanted}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{name}: byte {error.start} is not UTF-8 text; {wanted}") from None
