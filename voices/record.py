"""What is known of a stored voice, and its recording as bytes."""

import hashlib
import io
import math
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from json import dumps
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
from pydantic import TypeAdapter, ValidationError

from errors import InputError
from speech.level import duration_text
from speech.pcm import Audio
from voices.consent import Consent
from voices.names import checked_name, plain_text

Origin = Literal["shipped", "recording", "upload", "synthetic"]
"""Made by the project; recorded here; a file of a person's voice; speech Parley made."""

#: What engines can use of a reference, seconds.
SHORTEST, LONGEST = 3.0, 30.0
#: Sample rates of microphones and sound files, Hz.
LOWEST_RATE, HIGHEST_RATE = 8_000, 96_000
LONGEST_TRANSCRIPT = 2_000
LONGEST_DESCRIPTION = 300
LONGEST_OWNER = 200
#: The longest recording in FLAC, which is never much larger than plain PCM, bytes.
MOST_AUDIO_BYTES = int(LONGEST * HIGHEST_RATE * 2 * 1.1)
#: Records are a few hundred bytes.
MOST_RECORD_BYTES = 2**16

_LANGUAGE = re.compile(r"(?:[a-z]{2,3})?")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a voice.

    Attributes:
        name: What people call it.
        origin: Where the recording is from.
        created: When it was stored here, ISO 8601, UTC.
        sha256: `content_hash` of the recording.
        seconds: Its duration.
        rate: Its sample rate, Hz.
        transcript: What is said in it; may be empty.
        description: What it sounds like; may be empty.
        language: ISO 639 code of the transcript; empty: not known.
        owner: Login of who stored it; empty on a server without logins.
        consent: Of its speaker; None where there is no speaker, or the gate was off.
        imported: It came in an export file, and so did its consent.
    """

    name: str
    origin: Origin
    created: str
    sha256: str
    seconds: float
    rate: int
    transcript: str = ""
    description: str = ""
    language: str = ""
    owner: str = ""
    consent: Consent | None = None
    imported: bool = False

    @property
    def human(self) -> bool:
        """Whether it is the voice of a person, who has to consent."""
        return self.origin in {"recording", "upload"}

    @property
    def consent_note(self) -> str:
        """What is known about consent, for people."""
        if not self.human:
            return "Synthetic: nobody's voice, no consent needed."
        if self.consent is None:
            return "No consent is recorded: stored while the consent check was off."
        if self.imported:
            return f"Imported, consent recorded elsewhere on {self.consent.day}."
        return f"Consent recorded on {self.consent.day} by {self.consent.by}."

    def to_json(self) -> bytes:
        """As JSON, UTF-8."""
        return dumps(asdict(self), ensure_ascii=False, indent=1).encode()

    @staticmethod
    def from_json(content: bytes | str) -> "Record":
        """What `to_json` wrote.

        Raises:
            ValueError: If it is anything else; the message says what.
        """
        try:
            record = _adapter().validate_json(content, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"{place}: {first['msg']}" if place else first["msg"]) from error
        _check(record)
        return record


@dataclass(frozen=True, slots=True)
class StoredVoice:
    """A voice of the library.

    Attributes:
        id: Name of its folder; stays when the voice is renamed.
        record: What is known of it.
        path: Its recording, a FLAC file.
    """

    id: str
    record: Record
    path: Path

    @property
    def name(self) -> str:
        """What people call it."""
        return self.record.name

    @property
    def shipped(self) -> bool:
        """Whether it came with Parley and cannot be changed."""
        return self.record.origin == "shipped"


def content_hash(audio: Audio) -> str:
    """SHA-256 of a signal as 16-bit PCM at its rate, 64 hex digits: the same in every container."""
    digest = hashlib.sha256(f"{audio.rate}\n".encode())
    digest.update(audio.pcm16().astype("<i2").tobytes())
    return digest.hexdigest()


def check_audio(audio: Audio) -> None:
    """Raise `InputError` if a recording cannot be kept as a reference."""
    if not SHORTEST <= audio.seconds <= LONGEST:
        raise InputError(
            f"This recording is {duration_text(audio.seconds)} long; a voice needs"
            f" {SHORTEST:.0f} to {LONGEST:.0f} s of speech. Record more, or trim it."
        )
    if not LOWEST_RATE <= audio.rate <= HIGHEST_RATE:
        raise InputError(
            f"This recording has a sample rate of {audio.rate} Hz; {LOWEST_RATE} to"
            f" {HIGHEST_RATE} Hz can be kept. Export it at 24000 Hz."
        )
    if not np.isfinite(audio.samples).all():
        raise InputError("This recording has samples that are no numbers. Export it again.")
    if not audio.pcm16().any():
        raise InputError("This recording is silent. Check the microphone and record it again.")


def encode(audio: Audio) -> bytes:
    """A recording as FLAC, 16 bits."""
    content = io.BytesIO()
    soundfile.write(content, audio.pcm16(), audio.rate, format="FLAC", subtype="PCM_16")
    return content.getvalue()


def decode(content: bytes) -> Audio:
    """What `encode` wrote, or other mono FLAC of 16 bits.

    Raises:
        ValueError: If it is anything else or damaged, or beyond what can be kept.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as sound:
            if (sound.format, sound.subtype, sound.channels) != ("FLAC", "PCM_16", 1):
                raise ValueError("the recording is not mono FLAC of 16 bits")
            # Before reading: a small file may hold days of silence.
            if sound.frames > LONGEST * sound.samplerate or sound.samplerate > HIGHEST_RATE:
                raise ValueError("the recording is too long")
            frames = sound.frames
            samples = sound.read(frames, dtype="int16")
            rate = sound.samplerate
    except soundfile.LibsndfileError as error:
        raise ValueError("the recording is damaged") from error
    if len(samples) != frames:
        raise ValueError("the recording ends too early")
    return Audio.from_pcm16(samples, rate)


def check_language(language: str) -> str:
    """Raise `InputError` if this is no ISO 639 code; the empty string is fine."""
    if not _LANGUAGE.fullmatch(language):
        raise InputError(f"{language[:20]!r} is no language code; use one such as en, or none.")
    return language


@cache
def _adapter() -> TypeAdapter[Record]:
    return TypeAdapter(Record)


def _check(record: Record) -> None:
    """Raise `ValueError` for values that no record of ours has."""
    texts = [
        (record.transcript, LONGEST_TRANSCRIPT, "the transcript"),
        (record.description, LONGEST_DESCRIPTION, "the description"),
        (record.owner, LONGEST_OWNER, "the owner"),
    ]
    if (consent := record.consent) is not None:
        words = (consent.sentence, consent.heard, consent.by, consent.version)
        texts += [(text, LONGEST_TRANSCRIPT, "the consent") for text in words]
    try:
        checks = [text == plain_text(text, longest, what) for text, longest, what in texts]
        checks.append(record.name == checked_name(record.name))
        check_language(record.language)
    except InputError as error:
        raise ValueError(str(error)) from error
    datetime.fromisoformat(record.created)
    numbers = [record.seconds]
    if record.consent is not None:
        datetime.fromisoformat(record.consent.given)
        numbers += [record.consent.match, record.consent.similarity]
    if not (all(checks) and _HASH.fullmatch(record.sha256) and all(map(math.isfinite, numbers))):
        raise ValueError("a value in it is not one that Parley writes")
