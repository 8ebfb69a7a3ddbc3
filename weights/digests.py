"""SHA-256 of files, computed once and remembered beside them."""

import hashlib
import json
import logging
import os
import threading
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from weights.watch import Watch

_log = logging.getLogger(__name__)

#: Bytes read at once: large enough that hashing, not Python, sets the pace.
_BLOCK = 2**20


def sha256_of(path: Path, watch: Watch) -> str:
    """Hash a file, 64 hex digits.

    Raises:
        CancelledError: If the task of `watch` was cancelled.
    """
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            done += len(block)
            watch.at(done)
    return digest.hexdigest()


def blob_of(path: Path) -> str:
    """Git's hash of a small file, 40 hex digits."""
    content = path.read_bytes()
    header = f"blob {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


def write_whole(path: Path, text: str) -> None:
    """Write a small text file so that readers see all of it or nothing."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A digest and what the file looked like when it was computed."""

    size: int
    mtime_ns: int
    sha256: str

    def fits(self, stat: os.stat_result) -> bool:
        return (self.size, self.mtime_ns) == (stat.st_size, stat.st_mtime_ns)


class Digests:
    """SHA-256 of the files of one folder.

    A digest is remembered on disk, so that a later start does not hash a
    gigabyte again, and holds as long as the file keeps its size and its time
    of modification. Threads and processes may share a folder: the record is
    replaced as a whole, and an entry lost to a race only costs another hash.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._record = folder / ".sha256.json"
        self._seen: dict[str, _Seen] = {}
        self._lock = threading.Lock()

    def of(self, name: str, watch: Watch) -> str:
        """The digest of a file, 64 hex digits.

        Args:
            name: Path relative to the folder.
            watch: Follows the hashing, if the file must be hashed.

        Raises:
            FileNotFoundError: If there is no such file.
            CancelledError: If the task of `watch` was cancelled.
        """
        path = self._folder / name
        stat = path.stat()
        for seen in (self._seen.get(name), self._read().get(name)):
            if seen is not None and seen.fits(stat):
                return seen.sha256
        with watch.phase("checking", "this disk", stat.st_size):
            digest = sha256_of(path, watch)
        self._remember(name, _Seen(stat.st_size, stat.st_mtime_ns, digest))
        return digest

    def remember(self, name: str, sha256: str) -> None:
        """Record the digest of a file that has just been verified."""
        stat = (self._folder / name).stat()
        self._remember(name, _Seen(stat.st_size, stat.st_mtime_ns, sha256))

    def _remember(self, name: str, seen: _Seen) -> None:
        with self._lock:
            self._seen[name] = seen
            known = self._read() | self._seen
        text = json.dumps({name: asdict(seen) for name, seen in known.items()}, indent=1)
        try:
            write_whole(self._record, text)
        except OSError as error:  # A read-only folder: remembered for this process only.
            _log.info("%s cannot be written: %s", self._record, error)

    def _read(self) -> dict[str, _Seen]:
        try:
            entries = json.loads(self._record.read_text(encoding="utf-8"))
            return {name: _Seen(**entry) for name, entry in entries.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}  # Absent or damaged: the files are hashed again.
