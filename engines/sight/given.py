"""What holds for every file that is shown: it is there, can be read, and is not too large."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from errors import InputError
from speech.names import safe_name

MEGABYTE = 1_000_000


@contextmanager
def opened(path: Path, most: int, setting: str) -> Iterator[FileIO]:
    """Open a file that somebody gave, unbuffered.

    Args:
        path: Where it lies; only regular files, as a pipe or a device may have no end.
        most: Its largest size, bytes.
        setting: What `most` is called, for the message.

    Raises:
        InputError: If it is missing, no file, empty, too large, or may not be read.
    """
    name = safe_name(path.name)
    if path.is_dir():
        raise InputError(f"{name} is a folder. Give me the files in it.")
    if not path.is_file():
        raise InputError(f"There is no file {name}. Check the name, or upload it again.")
    size = path.stat().st_size
    if not size:
        raise InputError(f"{name} is empty (0 bytes). Export it again.")
    if size > most:
        raise InputError(
            f"{name} has {size / MEGABYTE:.0f} MB; the limit is {most / MEGABYTE:.0f} MB "
            f"({setting}). Make it smaller."
        )
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise InputError(f"I may not read {name}. Check its permissions.") from error
    with file:
        yield file
