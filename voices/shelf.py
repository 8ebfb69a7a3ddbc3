"""A folder of folders that changes in whole steps, for several processes at once."""

import json
import logging
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from errors import UnavailableError
from voices.disk import saving, sync_folder, write_synced

logger = logging.getLogger(__name__)

#: Changes take milliseconds; who holds the lock for longer has hung, seconds.
LOCK_TIMEOUT = 30.0


class Shelf:
    """Entries below `folder`: each is a folder that is there as a whole, or not.

    What is being made lies in `.staged-...`, what is being removed in `.gone-...`. Both
    are only touched under the lock, so whoever holds the lock and finds one knows that
    its maker has died. Several entries appear together by way of a journal: once it is
    written, whoever comes next finishes what it says.

    Args:
        folder: Made when something is stored.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._entries = folder / "voices"
        self._journal = folder / ".journal.json"

    @contextmanager
    def changing(self, failure: str) -> Iterator[None]:
        """Hold the lock, on a folder without leftovers.

        Args:
            failure: What to say if it cannot be done: "The voice was not saved".

        Raises:
            UnavailableError: If the disk refuses, or somebody else holds the lock for long.
        """
        with saving(failure, self.folder):
            self._entries.mkdir(parents=True, exist_ok=True)
            # A lock object of its own for each use keeps threads apart as well as processes.
            lock = FileLock(self.folder / ".lock", timeout=LOCK_TIMEOUT)
            try:
                lock.acquire()
            except Timeout as error:
                raise UnavailableError(
                    f"{failure}: another process is changing the voices in {self.folder}."
                    " Try again; if that does not help, end the other Parley."
                ) from error
            try:
                self._recover()
                yield
            finally:
                # What was staged and not committed goes, whatever the reason.
                self._sweep()
                lock.release()

    def entries(self) -> Iterator[Path]:
        """Every entry, foreign folders and files included, in no order."""
        if self._journal.exists():
            try:
                with self.changing("The voices could not be read"):
                    pass
            except UnavailableError as error:
                logger.warning("%s", error)
        try:
            yield from list(self._entries.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return

    def entry(self, name: str) -> Path:
        """Where an entry is or would be."""
        return self._entries / name

    def stage(self) -> Path:
        """A new empty folder to make an entry in; only under the lock."""
        staged = self.folder / f".staged-{uuid.uuid4().hex}"
        staged.mkdir()
        return staged

    def write(self, path: Path, content: bytes) -> None:
        """Write a file below the shelf, or put another in its place; only under the lock.

        What a crash leaves of it lies where leftovers are swept up.
        """
        staged = self.folder / f".staged-{uuid.uuid4().hex}"
        write_synced(staged, content)
        staged.replace(path)
        sync_folder(path.parent)

    def commit(self, staged: Mapping[Path, str]) -> None:
        """Let staged folders appear under their names, all or none; only under the lock."""
        for folder in staged:
            sync_folder(folder)
        if len(staged) > 1:
            moves = {folder.name: name for folder, name in staged.items()}
            self.write(self._journal, json.dumps(moves).encode())
            self._recover()
        else:
            for folder, name in staged.items():
                folder.rename(self.entry(name))
            sync_folder(self._entries)

    def remove(self, name: str) -> None:
        """Let an entry disappear at once, then erase it; only under the lock."""
        gone = self.folder / f".gone-{uuid.uuid4().hex}"
        self.entry(name).rename(gone)
        sync_folder(self._entries)
        shutil.rmtree(gone)

    def _recover(self) -> None:
        """Finish what the journal says, and sweep up what a crash has left."""
        if self._journal.exists():
            moves: dict[str, str] = json.loads(self._journal.read_bytes())
            for staged, name in moves.items():
                if (self.folder / staged).exists():
                    (self.folder / staged).rename(self.entry(name))
            sync_folder(self._entries)
            self._journal.unlink()
        self._sweep()

    def _sweep(self) -> None:
        for pattern in (".staged-*", ".gone-*"):
            for leftover in self.folder.glob(pattern):
                if leftover.is_dir():
                    shutil.rmtree(leftover, ignore_errors=True)
                else:
                    with suppress(OSError):
                        leftover.unlink()
