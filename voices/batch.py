"""Working a batch off: a sound file for each job, a manifest of what came of it, resumable."""

import errno
import hashlib
import json
import logging
import re
import unicodedata
import zipfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from engines.base import Cancel
from engines.messages import AudioChunk
from errors import CancelledError, InputError, ParleyError
from speech.names import safe_name
from speech.pcm import Audio
from voices.batch_jobs import Job
from voices.disk import saving, sync_folder
from voices.manifest import MANIFEST, Manifest, Outcome
from voices.marks import Made, label

logger = logging.getLogger(__name__)

Speak = Callable[[str, str, int | None], Iterator[AudioChunk]]
"""Speaks a text in a voice (empty: the default) with a seed, as a stream."""
Measure = Callable[[Audio, str], float | None]
"""Similarity of speech to the voice it was to have; None where it cannot be told."""

#: Of longer results, only so much is measured, seconds.
MEASURED = 30.0
#: Characters of a text that its file is named after.
_NAMED_AFTER = 40
_BLOCK = 2**20


@dataclass(frozen=True, slots=True)
class Step:
    """Where a batch is.

    Attributes:
        job: The job this is about.
        number: Its number, from 1.
        total: Number of jobs.
        state: "speaking" comes with each piece of speech, the others once a job.
        seconds: Speech of this job so far.
        outcome: What came of it, once that is known.
    """

    job: Job
    number: int
    total: int
    state: Literal["speaking", "done", "failed", "kept"]
    seconds: float = 0.0
    outcome: Outcome | None = None


def run_batch(
    jobs: Sequence[Job],
    folder: Path,
    speak: Speak,
    *,
    cancel: Cancel,
    measure: Measure | None = None,
    made: Callable[[Job], Made | None] = lambda job: None,
    fingerprint: Callable[[Job], str] = lambda job: "",
) -> Generator[Step]:
    """Work jobs off one by one into a folder, beginning where an earlier run stopped.

    A job is kept as it is where the manifest has the same text, voice, seed and
    fingerprint for it and its file is whole. One that fails is told and does not stop the
    others. Closing the generator, or `cancel`, stops within a job; what was done stays.

    Args:
        jobs: What to do, in this order.
        folder: For the files and the manifest; made when needed.
        speak: How it is done. Its `ParleyError`s are told to the user as they are.
        cancel: Stops the batch.
        measure: Compares each result with its voice.
        made: What each file is marked with; None for a job leaves it unmarked, which is for speech
            that is neither matched nor cloned.
        fingerprint: What else the result depends on (engine, content hash of the voice).

    Raises:
        UnavailableError: If the disk refuses; what was done stays.
        CancelledError: If it was cancelled.
    """
    with saving("The batch was stopped", folder):
        folder.mkdir(parents=True, exist_ok=True)
        manifest = Manifest(folder)
        work = _Work(folder, speak, measure, made, cancel)
        names = file_names(jobs)
        for number, (job, name) in enumerate(zip(jobs, names, strict=True), 1):
            cancel.check()
            key = _key(job, fingerprint)
            known = manifest.find(name, key)
            if known is not None and _digest(folder / name) == known.sha256:
                yield Step(job, number, len(jobs), "kept", known.seconds, known)
                continue
            blank = Outcome(name, key, "failed", job.text, job.voice, job.seed)
            outcome = blank
            for state in work.do(job, blank):
                if isinstance(state, Outcome):
                    outcome = state
                else:
                    yield Step(job, number, len(jobs), "speaking", state)
            manifest.add(outcome)
            yield Step(job, number, len(jobs), outcome.status, outcome.seconds, outcome)
        manifest.close(names)


def zip_batch(folder: Path, target: Path) -> None:
    """Put the results and the manifest of a batch into one zip file.

    Raises:
        InputError: If there is no batch in the folder.
        UnavailableError: If the disk refuses; nothing is left half-written then.
    """
    with saving("The zip file was not written", target.parent):
        manifest = Manifest(folder)
        if not manifest.outcomes:
            raise InputError("There is no finished job yet. Run the batch first.")
        part = target.with_name(f".{target.name}.part")
        try:
            # Stored: sound hardly gets smaller, and this is as fast as the disk.
            with zipfile.ZipFile(part, "w", strict_timestamps=False) as archive:
                archive.write(folder / MANIFEST, MANIFEST)
                for outcome in manifest.outcomes:
                    if outcome.status == "done":
                        archive.write(folder / outcome.file, outcome.file)
            part.replace(target)
            sync_folder(target.parent)
        finally:
            part.unlink(missing_ok=True)


def file_names(jobs: Sequence[Job]) -> list[str]:
    """A file name for each job: safe, no two the same in any case, the same in every run.

    Jobs without a name are named after text, voice and seed, so that lines which are put
    in later do not change the names of others.
    """
    names: list[str] = []
    taken = {_folded(MANIFEST)}
    for job in jobs:
        stem = re.sub(r"\.wav$", "", safe_name(job.name), flags=re.I) if job.name else _stem(job)
        name, number = f"{stem}.wav", 1
        while _folded(name) in taken:
            number += 1
            name = f"{stem}-{number}.wav"
        taken.add(_folded(name))
        names.append(name)
    return names


class _Work:
    """Does one job after the other."""

    def __init__(
        self,
        folder: Path,
        speak: Speak,
        measure: Measure | None,
        made: Callable[[Job], Made | None],
        cancel: Cancel,
    ) -> None:
        self._folder = folder
        self._speak = speak
        self._measure = measure
        self._made = made
        self._cancel = cancel

    def do(self, job: Job, blank: Outcome) -> Iterator[float | Outcome]:
        """Seconds of speech so far, each time there is more, then the outcome."""
        target = self._folder / blank.file
        part = target.with_name(f".{target.name}.part")
        try:
            speech = _Speech(part, self._made(job))
            with closing(speech), closing(self._chunks(job)) as chunks:
                for chunk in chunks:
                    self._cancel.check()
                    speech.write(chunk.audio)
                    yield speech.seconds
            if not speech.seconds:
                raise InputError("Nothing in this text can be spoken.")
            similarity = self._similarity(speech, job)
            digest = _digest(part)
            part.replace(target)
        except CancelledError:
            raise
        except _BugError as failure:
            yield replace(blank, error=str(failure))
        except ParleyError as error:
            yield replace(blank, error=str(error))
        else:
            yield replace(
                blank,
                status="done",
                seconds=round(speech.seconds, 3),
                similarity=None if similarity is None else round(similarity, 3),
                sha256=digest,
            )
        finally:
            part.unlink(missing_ok=True)

    def _chunks(self, job: Job) -> Generator[AudioChunk]:
        """The speech of a job; what goes wrong in it is told apart from what a disk refuses."""
        try:
            yield from self._speak(job.text, job.voice, job.seed)
        except ParleyError:
            raise
        except Exception as error:
            logger.exception("Line %d failed", job.line)
            raise _BugError("This went wrong inside Parley; the log says how.") from error

    def _similarity(self, speech: "_Speech", job: Job) -> float | None:
        """How close the speech came; speech that cannot be measured is kept all the same."""
        if self._measure is None:
            return None
        try:
            return self._measure(speech.beginning(), job.voice)
        except ParleyError as error:
            logger.warning("Line %d was not measured: %s", job.line, error)
        except Exception:
            logger.exception("Line %d was not measured", job.line)
        return None


class _BugError(Exception):
    """A job has failed in a way that is a bug."""


class _Speech:
    """A sound file in the making, and the beginning of it in memory."""

    def __init__(self, path: Path, made: Made | None) -> None:
        self._path = path
        self._made = made
        self._file: soundfile.SoundFile | None = None
        self._parts: list[Audio] = []
        self.seconds = 0.0

    def write(self, audio: Audio) -> None:
        """Append a piece; raises `OSError` if the disk refuses."""
        if self.seconds < MEASURED:
            self._parts.append(audio)
        try:
            if self._file is None:
                self._file = soundfile.SoundFile(
                    self._path, "w", audio.rate, 1, "PCM_16", format="WAV"
                )
                if self._made is not None:
                    label(self._file, self._made)
            audio = audio.resampled(self._file.samplerate)
            self._file.write(audio.pcm16())
        except soundfile.LibsndfileError as error:
            # The library says "System error" to everything; this is by far the likeliest.
            raise OSError(errno.ENOSPC, str(error)) from error
        self.seconds += audio.seconds

    def beginning(self) -> Audio:
        """What is to be measured."""
        rate = self._parts[0].rate
        samples = np.concatenate([part.resampled(rate).samples for part in self._parts])
        return Audio(samples[: round(MEASURED * rate)], rate)

    def close(self) -> None:
        """Finish the file."""
        if self._file is not None:
            self._file.close()


def _key(job: Job, fingerprint: Callable[[Job], str]) -> str:
    """What the result of a job depends on, as a hash."""
    content = json.dumps([job.text, job.voice, job.seed, fingerprint(job)])
    return hashlib.sha256(content.encode()).hexdigest()


def _stem(job: Job) -> str:
    words = safe_name(re.sub(r"[/\\]", " ", job.text[:_NAMED_AFTER]), "text")
    short = _key(job, lambda job: "")[:6]
    voice = safe_name(job.voice, "") if job.voice else ""
    return "-".join(filter(None, ("_".join(words.rstrip(".!?…").split()), voice, short)))


def _folded(name: str) -> str:
    """What makes two names one file on some system."""
    return unicodedata.normalize("NFKC", name).casefold()


def _digest(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits; empty if there is none."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except FileNotFoundError:
        return ""
    return digest.hexdigest()
