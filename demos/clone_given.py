"""The reference that a session speaks in: of the library, or a recording that was checked."""

from dataclasses import dataclass
from pathlib import Path

from demos import clone_words
from engines.base import Cancel, Reference
from errors import InputError
from services import Services
from voices.record import Origin, content_hash

#: How a reference that is not stored is called, in the marks of files too.
UNNAMED = "a recording that was not stored"


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """A recording that can be used; belongs to one session.

    Attributes:
        reference: The part of it that is used.
        origin: Where it is from.
        report: What the check found, as HTML.
        sha256: `content_hash` of the part.
    """

    reference: Reference
    origin: Origin
    report: str
    sha256: str


def checked(services: Services, path: str | None, origin: Origin, cancel: Cancel) -> Given:
    """Check a recording and choose the part of it that is used.

    Raises:
        InputError: If it cannot be used; the message says why and what to do.
        CancelledError: If another one was given meanwhile.
    """
    clip = services.recording(Path(path) if path else None)
    cancel.check()
    excerpt, quality = services.voices.check(clip.audio, cancel=cancel)
    report = clone_words.report(clip.audio, excerpt, quality, clip.notes)
    reference = services.voices.reference(UNNAMED, excerpt.audio)
    return Given(reference, origin, report, content_hash(excerpt.audio))


def chosen(services: Services, source: str, voice: str | None, given: Given | None) -> Reference:
    """The reference that is selected on the page.

    Raises:
        InputError: If there is none, or it was deleted meanwhile.
    """
    if source == "library":
        if not voice:
            raise InputError("No voice is chosen. Choose one in step 1.")
        return services.voices.library.get(voice)
    if given is None:
        raise InputError("There is no recording to speak from yet. Record or upload one in step 1.")
    return given.reference
