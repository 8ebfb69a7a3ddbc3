"""What came of the jobs of a batch: one JSON line each, written as they end."""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from voices.disk import replace_synced

logger = logging.getLogger(__name__)

MANIFEST = "manifest.jsonl"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job; a line of the manifest.

    Attributes:
        file: Name of its sound file.
        key: Hash of all that the result depends on.
        status: Whether there is a result.
        text: What was said.
        voice: Name of the voice; empty: the default.
        seed: Of the synthesis.
        seconds: Duration of the speech.
        similarity: To the voice it was to have, cosine; None: not measured.
        sha256: Of the sound file.
        error: What went wrong, for people.
    """

    file: str
    key: str
    status: Literal["done", "failed"]
    text: str
    voice: str
    seed: int | None
    seconds: float = 0.0
    similarity: float | None = None
    sha256: str = ""
    error: str = ""

    def line(self) -> str:
        """As JSON on one line."""
        return json.dumps(asdict(self), ensure_ascii=False) + "\n"


class Manifest:
    """The manifest of a folder: read when it is opened, then appended to.

    A line that a crash has cut off, or that was not written by us, is left out; the job it
    was about is done again.

    Args:
        folder: Of the batch; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / MANIFEST
        self._outcomes: dict[str, Outcome] = {}
        lines = self._path.read_bytes().split(b"\n") if self._path.exists() else []
        for line in filter(None, lines):
            try:
                outcome = _adapter().validate_json(line, strict=True)
            except ValidationError:
                logger.warning("%s has a line that cannot be read; it is left out.", self._path)
            else:
                self._outcomes[outcome.file] = outcome
        # Whatever the last run left, the next line begins on a line of its own.
        self._whole = not lines or not lines[-1]

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The latest outcome of each file, in the order they came."""
        return tuple(self._outcomes.values())

    def find(self, file: str, key: str) -> Outcome | None:
        """The outcome that a finished job has left under this name, if it is of this content."""
        known = self._outcomes.get(file)
        return known if known and known.key == key and known.status == "done" else None

    def add(self, outcome: Outcome) -> None:
        """Append an outcome; it is on the disk when this returns."""
        with self._path.open("ab") as file:
            file.write(("" if self._whole else "\n").encode() + outcome.line().encode())
            file.flush()
            os.fsync(file.fileno())
        self._whole = True
        self._outcomes[outcome.file] = outcome

    def close(self, files: Sequence[str]) -> None:
        """Leave one line for each of these files, in this order, and no other."""
        kept = {file: self._outcomes[file] for file in files}
        self._outcomes = kept
        replace_synced(self._path, "".join(o.line() for o in kept.values()).encode())


@cache
def _adapter() -> TypeAdapter[Outcome]:
    return TypeAdapter(Outcome)
