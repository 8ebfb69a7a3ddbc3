"""Recognition of a clip of any length, as every cascade does it."""

from collections.abc import Iterator

from engines.base import Cancel, Stopwatch
from engines.cascade.parts import Recognizer
from engines.messages import Event, Finished, Span, Transcript
from engines.notices import Notices
from errors import InputError
from speech.pcm import Audio
from speech.segments import no_speech_message, split


def transcribe(
    recognizer: Recognizer,
    audio: Audio,
    language: str | None,
    cancel: Cancel,
    notices: Notices,
) -> Iterator[Event]:
    """The events of `SpeechEngine.transcribe`."""
    watch = Stopwatch()
    for transcript in recognize(recognizer, audio, language, cancel):
        if transcript.final:
            watch.mark("recognized")
        yield from notices.new()
        yield transcript
    yield Finished(watch.timings(audio.seconds))


def recognize(
    recognizer: Recognizer, audio: Audio, language: str | None, cancel: Cancel
) -> Iterator[Transcript]:
    """Recognize a clip of any length, segment by segment.

    Raises:
        InputError: If there is no speech in it.
    """
    text, spans = "", list[Span]()
    for segment in split(audio):
        cancel.check()
        part = recognizer.recognize(segment.audio, language)
        language = language or part.language
        text = f"{text} {part.text}".strip()
        spans += [
            Span(span.text, span.start + segment.start, span.end + segment.start)
            for span in part.spans
        ]
        heard = segment.start + segment.audio.seconds
        yield Transcript(text, False, tuple(spans), heard, language)
    cancel.check()
    if not text:
        raise InputError(no_speech_message(audio))
    yield Transcript(text, True, tuple(spans), audio.seconds, language)
