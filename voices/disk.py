"""Writing so that a crash leaves the old or the new, and words for what disks refuse."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from errors import UnavailableError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_FOLDER = {errno.ENOTDIR, errno.EEXIST}


def write_synced(path: Path, content: bytes) -> None:
    """Write a file that is on the disk, not only on its way there, when this returns."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_synced(path: Path, content: bytes) -> None:
    """Put a file in place of another: readers, and a crash, see all of one of the two."""
    part = path.with_name(f".{path.name}.part")
    try:
        write_synced(part, content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can do that."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def saving(what: str, folder: Path) -> Iterator[None]:
    """Turn what a disk refuses into words.

    Args:
        what: What was not done, as a sentence without its end: "The voice was not saved".
        folder: Where it was to be done.

    Raises:
        UnavailableError: For every `OSError` inside.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            reason = f"the disk of {folder} is full. Free some space and try again."
        elif error.errno in _FORBIDDEN:
            reason = f"Parley may not write to {folder}. Change that, or set PARLEY_DATA."
        elif error.errno in _NO_FOLDER:
            reason = f"{folder} is not a folder. Move what is there, or set PARLEY_DATA."
        else:
            reason = f"{error.strerror or error} ({folder})."
        raise UnavailableError(f"{what}: {reason}") from error
