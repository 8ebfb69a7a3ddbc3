"""Voices beyond those of the engines: found by name, measured, marked.

What the page, the API and the command line know of references comes from here.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from engines import speaker
from engines.base import Cancel, EngineInfo, Reference, Voice
from engines.catalog import Entry
from engines.messages import AudioChunk, Event
from errors import InputError
from model_loader import ModelHolder
from settings import VERSION, Settings
from speech.files import Clip
from speech.pcm import Audio
from speech.reference import Excerpt, Quality, assess, choose
from speech.speaker import SpeakerEncoder, similarity
from voices.consent import ConsentGate
from voices.features import remembering
from voices.library import Library
from voices.marks import Made
from voices.watermark import Watermark
from weights import Store

#: Voices of the project's own making (`assets/make_voices.py`).
SHIPPED = Path(__file__).parent / "assets" / "voices"
SOFTWARE = f"Parley {VERSION}"


class Voices:
    """References of this server.

    Attributes:
        library: Those that are kept.
        gate: Lets human voices into it.
        watermark: For speech made from references, where its weights are there.

    Args:
        settings: The rules.
        models: Where the speaker encoder is borrowed.
        store: Where its weights are from.
        catalog: The engines, whose own voices keep their names.
    """

    def __init__(
        self, settings: Settings, models: ModelHolder, store: Store, catalog: Sequence[Entry]
    ) -> None:
        own = {voice.name for entry in catalog for voice in entry.info.voices}
        self.library = Library(
            settings.data / "voices", SHIPPED, consent=settings.voice_consent, reserved=own
        )
        self.gate = ConsentGate(VERSION)
        self.watermark = Watermark(settings.data / "weights" / "audioseal")
        self._models = models
        self._models.register(speaker.spec(store))

    def offered(self, info: EngineInfo) -> EngineInfo:
        """An engine with the voices of the library after its own, if it takes any."""
        if info.reference is None:
            return info
        kept = [
            Voice(voice.name, voice.record.language or "*", voice.record.description)
            for voice in self.library.voices()
        ]
        return replace(info, voices=(*info.voices, *kept))

    def resolved(self, voice: str | Reference | None, info: EngineInfo) -> str | Reference | None:
        """A voice as an engine takes it: its own by name, else one of the library.

        Raises:
            InputError: If there is none of that name, or the engine speaks in none but its own.
        """
        if voice is None or voice in {own.name for own in info.voices}:
            return voice
        reference = self.library.get(voice) if isinstance(voice, str) else voice
        if info.reference is None:
            raise InputError(info.unmatched)
        return reference

    def reference(self, name: str, audio: Audio, transcript: str = "") -> Reference:
        """A recording as a voice that is kept nowhere but in memory."""
        return Reference(name, audio, transcript, remembering())

    def from_recording(self, clip: Clip, *, cancel: Cancel) -> Reference:
        """The best part of a recording as a voice that is kept nowhere but in memory.

        Raises:
            InputError: If it cannot be used; the message says why.
        """
        excerpt, _ = self.check(clip.audio, cancel=cancel)
        return self.reference(clip.name, excerpt.audio)

    def check(self, recording: Audio, *, cancel: Cancel) -> tuple[Excerpt, Quality]:
        """The part of a recording that is best used as a reference, and how good it is.

        Raises:
            InputError: If there is no usable speech in it; the message says what is wrong.
        """
        with self.encoder(cancel) as encoder:
            quality = assess(recording, encoder)
        # Before a part is chosen: what is wrong with the whole says more than what is missing.
        quality.require()
        return choose(recording), quality

    def similarity(self, one: Audio, other: Audio, *, cancel: Cancel) -> float:
        """How alike two speakers sound, 0 to 1; see `speech.speaker.meaning`.

        Raises:
            InputError: If there is too little speech in one of them.
        """
        with self.encoder(cancel) as encoder:
            return similarity(encoder.embed(one), encoder.embed(other))

    @contextmanager
    def encoder(self, cancel: Cancel) -> Iterator[SpeakerEncoder]:
        """Borrow the speaker encoder."""
        with self._models.use(speaker.NAME, cancel=cancel) as (encoder,):
            yield encoder

    def made(self, voice: str | Reference | None, info: EngineInfo) -> Made | None:
        """What a file of speech in this voice has to say of itself; None if it is the engine's."""
        if voice is None or voice in {own.name for own in info.voices}:
            return None
        # By its record alone: its sound is read where it is spoken with.
        name = self.library.find(voice).name if isinstance(voice, str) else voice.name
        if info.reference is None:
            raise InputError(info.unmatched)
        return Made(info.name, name, info.reference, _now(), SOFTWARE, self.watermark.present)

    def made_by(self, info: EngineInfo) -> Made:
        """What a file of speech in the engine's own first voice says of itself."""
        return Made(info.name, info.voices[0].name, None, _now(), SOFTWARE)

    def watermarked(
        self, events: Iterator[Event], voice: str | Reference | None
    ) -> Iterator[Event]:
        """Events of a reply; speech made from a reference carries the watermark if it can."""
        if not isinstance(voice, Reference) or not self.watermark.present:
            yield from events
            return
        for event in events:
            if isinstance(event, AudioChunk):
                yield replace(event, audio=self.watermark.embed(event.audio))
            else:
                yield event


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
