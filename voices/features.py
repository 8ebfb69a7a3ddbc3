"""What engines compute from recordings, kept by content hash: never needed, never trusted."""

import hashlib
import logging
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote
from weakref import WeakValueDictionary

from errors import UnavailableError
from voices.shelf import Shelf

logger = logging.getLogger(__name__)

Keep = Callable[[str, Callable[[], bytes]], bytes]
"""See `engines.base.Reference.keep`."""

_DIGEST = hashlib.sha256().digest_size


def remembering(keep: Keep | None = None) -> Keep:
    """A place for features in memory, as long as somebody holds it.

    By itself it serves a reference that was not stored: one object for each reference.

    Args:
        keep: Asked first time; None computes.
    """
    lock = threading.Lock()
    known: dict[str, bytes] = {}

    def remember(kind: str, compute: Callable[[], bytes]) -> bytes:
        # Held while computing: of two requests at once, the second takes what the first made.
        with lock:
            if kind not in known:
                known[kind] = keep(kind, compute) if keep else compute()
            return known[kind]

    return remember


class Features:
    """The cache below a shelf: `features/<content hash>/<kind>`, a digest before each content.

    Args:
        shelf: Whose lock keeps writing and forgetting apart.
        wanted: Whether a voice with this content is stored; for no other is anything kept.
    """

    def __init__(self, shelf: Shelf, wanted: Callable[[str], bool]) -> None:
        self._shelf = shelf
        self._wanted = wanted
        self._lock = threading.Lock()
        #: As long as a reference holds one, the next reference to that recording shares it.
        self._keeps: WeakValueDictionary[str, Keep] = WeakValueDictionary()

    def keep(self, sha256: str) -> Keep:
        """The cache of one recording: in memory while a reference to it lives, and on disk."""
        with self._lock:
            known = self._keeps.get(sha256)
            if known is None:
                known = self._keeps[sha256] = remembering(self._on_disk(sha256))
            return known

    def forget(self, sha256: str) -> None:
        """Erase what is kept of a recording; only under the lock."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self._folder(sha256))

    def _on_disk(self, sha256: str) -> Keep:
        def on_disk(kind: str, compute: Callable[[], bytes]) -> bytes:
            path = self._folder(sha256) / f"{quote(kind, safe='')}.bin"
            content = _read(path)
            if content is None:
                content = compute()
                self._write(sha256, path, content)
            return content

        return on_disk

    def _folder(self, sha256: str) -> Path:
        return self._shelf.folder / "features" / sha256

    def _write(self, sha256: str, path: Path, content: bytes) -> None:
        try:
            with self._shelf.changing("A feature was not kept"):
                # Deleted while it was computed: nothing of the voice may come back.
                if self._wanted(sha256):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    self._shelf.write(path, hashlib.sha256(content).digest() + content)
        except UnavailableError as error:
            logger.warning("%s", error)


def _read(path: Path) -> bytes | None:
    """The content of a file that is whole."""
    try:
        stored = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.warning("%s cannot be read: %s", path, error)
        return None
    if hashlib.sha256(stored[_DIGEST:]).digest() != stored[:_DIGEST]:
        logger.warning("%s is damaged and is made again.", path)
        return None
    return stored[_DIGEST:]
