"""One fetch of missing files: what a source gets to work with."""

import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from weights.digests import Digests, blob_of, sha256_of
from weights.spec import File, Weights
from weights.watch import Watch

_log = logging.getLogger(__name__)


class SourceError(Exception):
    """A source cannot deliver; the next one is tried."""


def sized(count: int) -> str:
    """A number of bytes for people: `1.12 GB (1117320768 bytes)`."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{count / scale:.3g} {unit} ({count} bytes)"
    return f"{count} bytes"


def length(path: Path) -> int:
    """Bytes of a file, 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@dataclass(frozen=True, slots=True)
class Job:
    """The missing files of one set of weights.

    Attributes:
        weights: What they belong to.
        files: What is missing.
        folder: Where they go.
        scratch: Where unfinished files are kept from one attempt to the next, on the
            same file system as `folder`. Each source uses a subfolder of its own.
        digests: Remembers what was verified.
        watch: Follows the fetch and may stop it.
    """

    weights: Weights
    files: tuple[File, ...]
    folder: Path
    scratch: Path
    digests: Digests
    watch: Watch

    @property
    def present_bytes(self) -> int:
        """Bytes of the files that are there already."""
        return self.weights.size - sum(file.size for file in self.files)

    def require_space(self, needed: int) -> None:
        """Refuse a download that cannot fit.

        Args:
            needed: Bytes, beyond those on disk already.

        Raises:
            SourceError: If less is free.
        """
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise SourceError(
                f"{sized(needed)} of free disk space are needed in {self.folder}, "
                f"where {sized(free)} are free"
            )

    def install(self, finished: Path, file: File, source: str) -> None:
        """Verify a finished file and move it to its place in one step.

        Args:
            finished: The file, in `scratch`; removed if it is refused.
            file: What it should be.
            source: Who gave it, for people.

        Raises:
            SourceError: If it is not what it should be.
            CancelledError: If the task was cancelled; the finished file is kept.
        """
        with self.watch.phase("verifying", source, length(finished)):
            actual = sha256_of(finished, self.watch)
        problem = None
        if length(finished) != file.size or file.sha256 not in (None, actual):
            problem = (
                f"it has {length(finished)} bytes and sha256 {actual}, "
                f"expected {file.size} bytes and sha256 {file.sha256 or '(unknown)'}"
            )
        elif file.blob is not None and blob_of(finished) != file.blob:
            problem = f"its Git hash is {blob_of(finished)}, expected {file.blob}"
        if problem is not None:
            finished.unlink()
            raise SourceError(f"{file.name} was refused: {problem}")
        target = self.folder / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        _sync(finished)
        finished.replace(target)
        self.digests.remember(file.name, actual)
        _log.info("%s is in place (from %s)", target, source)


def _sync(path: Path) -> None:
    """Force the content to disk, so that a power cut cannot leave a named but empty file."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


class Source(Protocol):
    """Somewhere weights can be had from."""

    title: str

    def offer(self, weights: Weights) -> str | None:
        """Where this source has the weights, for people; None if it does not."""
        ...

    def fetch(self, job: Job) -> None:
        """Install every file of the job, continuing where an earlier attempt stopped.

        Raises:
            SourceError: If it cannot; files installed so far stay.
            CancelledError: If the task was cancelled; what has come so far is kept.
        """
        ...
