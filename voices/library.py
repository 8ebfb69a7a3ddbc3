"""The voice library: named voices on disk, for everyone who uses this server."""

import logging
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from engines.base import Reference
from errors import InputError
from speech.pcm import Audio
from voices.consent import Consent
from voices.disk import write_synced
from voices.features import Features
from voices.names import checked_name, name_key, numbered, plain_text
from voices.record import (
    LONGEST_DESCRIPTION,
    LONGEST_OWNER,
    LONGEST_TRANSCRIPT,
    MOST_AUDIO_BYTES,
    MOST_RECORD_BYTES,
    Origin,
    Record,
    StoredVoice,
    check_audio,
    check_language,
    content_hash,
    decode,
    encode,
)
from voices.shelf import Shelf

logger = logging.getLogger(__name__)

#: Voices that are kept at most: every list of them is read and shown as a whole.
MOST_VOICES = 500
#: What people must know before they store their voice.
SHARED_NOTE = (
    "Voices of the library can be used by everyone who uses this server."
    " With logins, only who stored a voice can rename or delete it."
)

_RECORD = "voice.json"
_AUDIO = "audio.flac"


@dataclass(frozen=True, slots=True)
class Draft:
    """A voice that is to be stored: its record, and its recording as `encode` writes it."""

    record: Record
    audio: bytes


class Library:
    """Voices in a folder of their own each, and those that come with Parley.

    Threads and processes may share a folder. Whatever changes it is done as a whole or
    not at all, also where the process dies or the disk is full.

    Args:
        folder: Where voices are kept; made when the first is stored.
        shipped: Folder of the voices of the project, which is only read.
        consent: Whether a human voice is stored only with a consent (`voice_consent`).
        reserved: Names that engines use for voices of their own.
        most: How many voices are kept at most.
    """

    def __init__(
        self,
        folder: Path,
        shipped: Path,
        *,
        consent: bool = True,
        reserved: Collection[str] = (),
        most: int = MOST_VOICES,
    ) -> None:
        self.folder = folder
        self.consent = consent
        self._shipped = shipped
        self._reserved = {name_key(name) for name in reserved}
        self._most = most
        self._shelf = Shelf(folder)
        self._features = Features(self._shelf, self._has_content)
        #: Names this process has seen here: one that is gone was deleted or renamed.
        self._seen: set[str] = set()

    def voices(self) -> list[StoredVoice]:
        """All voices: those of the project first, then by name."""
        found, _ = self._read_all()
        self._seen |= {name_key(voice.name) for voice in found}
        return sorted(found, key=lambda voice: (not voice.shipped, name_key(voice.name)))

    def problems(self) -> tuple[str, ...]:
        """What in the folder is no voice, or one that cannot be read; for people."""
        return self._read_all()[1]

    def find(self, name: str) -> StoredVoice:
        """A voice by name, in any case.

        Raises:
            InputError: If there is none; the message tells one that is gone from one
                that never was.
        """
        voices = self.voices()
        key = name_key(name)
        for voice in voices:
            if name_key(voice.name) == key:
                return voice
        if key in self._seen:
            raise InputError(f"The voice {name!r} was deleted or renamed. Choose another voice.")
        names = ", ".join(voice.name for voice in voices) or "none"
        raise InputError(f"There is no voice {name[:80]!r} in the library. Voices: {names}.")

    def get(self, name: str) -> Reference:
        """A voice as engines take it; what they compute from it is kept with the library.

        Raises:
            InputError: If there is none of that name, or its recording is damaged.
        """
        voice = self.find(name)
        try:
            if voice.path.stat().st_size > MOST_AUDIO_BYTES:
                raise ValueError("the recording is too large")
            audio = decode(voice.path.read_bytes())
            if content_hash(audio) != voice.record.sha256:
                raise ValueError("the recording is not the one that was stored")
        except FileNotFoundError as error:
            raise InputError(
                f"The voice {voice.name!r} was deleted just now. Choose another voice."
            ) from error
        except (ValueError, OSError) as error:
            raise InputError(
                f"The voice {voice.name!r} cannot be used: {error}. Delete it and store it again."
            ) from error
        keep = self._features.keep(voice.record.sha256)
        return Reference(voice.name, audio, voice.record.transcript, keep)

    def add(
        self,
        name: str,
        audio: Audio,
        *,
        origin: Origin,
        transcript: str = "",
        description: str = "",
        language: str = "",
        consent: Consent | None = None,
        owner: str = "",
    ) -> StoredVoice:
        """Store a voice.

        Args:
            name: A name that no voice has, in any case.
            audio: 3 to 30 s, mono.
            origin: Where the recording is from. "synthetic" is for what Parley itself has
                just made; never take a visitor's word for it.
            transcript: What is said in it.
            description: What it sounds like.
            language: ISO 639 code of the transcript.
            consent: Of the speaker, given for exactly this recording.
            owner: Login of who stores it; empty on a server without logins.

        Raises:
            InputError: If something of this cannot be used; the message says what to do.
            UnavailableError: If the disk refuses; nothing was stored then.
        """
        check_audio(audio)
        record = Record(
            name=checked_name(name),
            origin=origin,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            sha256=content_hash(audio),
            seconds=round(audio.seconds, 3),
            rate=audio.rate,
            transcript=plain_text(transcript, LONGEST_TRANSCRIPT, "The transcript"),
            description=plain_text(description, LONGEST_DESCRIPTION, "The description"),
            language=check_language(language),
            owner=plain_text(owner, LONGEST_OWNER, "The login"),
            consent=consent,
        )
        self.check_consent(record)
        (voice,) = self._store([Draft(record, encode(audio))], _untaken)
        return voice

    def add_all(self, drafts: Iterable[Draft]) -> list[StoredVoice]:
        """Store voices from an export file, all or none; a name that is taken gets a number.

        Raises:
            InputError: If one has no consent, or there are too many.
            UnavailableError: If the disk refuses; nothing was stored then.
        """
        return self._store(drafts, numbered)

    def check_consent(self, record: Record) -> None:
        """Raise `InputError` if a voice may not be stored for want of consent."""
        if record.origin == "shipped":
            raise InputError("Only the voices that come with Parley can be marked so.")
        if not record.human:
            return
        if record.consent is not None and record.consent.voice != record.sha256:
            raise InputError(
                f"The consent for {record.name!r} was given for another recording."
                " Have the sentence read again for this one."
            )
        if record.consent is None and self.consent:
            raise InputError(
                f"{record.name!r} is the voice of a person, and there is no consent with it."
                " Have its speaker read the sentence, then store it."
            )

    def rename(self, name: str, new: str, *, by: str = "") -> StoredVoice:
        """Give a voice another name; `by` is the login of who asks.

        Raises:
            InputError: If there is no such voice, the name is taken or no name, or it is
                not theirs to rename.
            UnavailableError: If the disk refuses; the old name stays then.
        """
        new = checked_name(new)
        with self._shelf.changing("The voice was not renamed"):
            voice = self._own(name, by, "renamed")
            if name_key(new) != name_key(voice.name):
                _untaken(new, self._taken())
            record = replace(voice.record, name=new)
            self._shelf.write(voice.path.with_name(_RECORD), record.to_json())
        self._seen.add(name_key(new))
        return replace(voice, record=record)

    def delete(self, name: str, *, by: str = "") -> None:
        """Erase a voice: recording, record, and features; `by` is the login of who asks.

        A `Reference` that was handed out before still works, from memory.

        Raises:
            InputError: If there is no such voice, or it is not theirs to delete.
            UnavailableError: If the disk refuses.
        """
        with self._shelf.changing("The voice was not deleted"):
            voice = self._own(name, by, "deleted")
            sha256 = voice.record.sha256
            others = [other for other in self._read_all()[0] if other.id != voice.id]
            # Features first: without them the voice is whole, without it they would be orphans.
            if sha256 not in {other.record.sha256 for other in others}:
                self._features.forget(sha256)
            self._shelf.remove(voice.id)

    def may_change(self, voice: StoredVoice, by: str) -> bool:
        """Whether this login (empty: a server without logins) may rename and delete a voice."""
        return not voice.shipped and (not by or voice.record.owner in {"", by})

    def _own(self, name: str, by: str, done: str) -> StoredVoice:
        """The voice, if it may be changed."""
        voice = self.find(name)
        if voice.shipped:
            raise InputError(f"{voice.name!r} comes with Parley and cannot be {done}.")
        if not self.may_change(voice, by):
            raise InputError(
                f"{voice.name!r} was stored by {voice.record.owner}; only they can have it {done}."
            )
        return voice

    def _store(
        self, drafts: Iterable[Draft], name_of: Callable[[str, Collection[str]], str]
    ) -> list[StoredVoice]:
        stored: list[StoredVoice] = []
        with self._shelf.changing("Nothing was stored"):
            count = sum(not voice.shipped for voice in self._read_all()[0])
            taken = self._taken()
            staged: dict[Path, str] = {}
            for draft in drafts:
                if count + len(stored) >= self._most:
                    raise InputError(
                        f"The library holds {self._most} voices at most. Delete some first."
                    )
                self.check_consent(draft.record)
                record = replace(draft.record, name=name_of(draft.record.name, taken))
                # Not derived from the name, so that no name is a path.
                voice_id = secrets.token_hex(8)
                folder = self._shelf.stage()
                write_synced(folder / _AUDIO, draft.audio)
                write_synced(folder / _RECORD, record.to_json())
                staged[folder] = voice_id
                stored.append(StoredVoice(voice_id, record, self._shelf.entry(voice_id) / _AUDIO))
                taken.add(name_key(record.name))
            self._shelf.commit(staged)
        self._seen |= {name_key(voice.name) for voice in stored}
        return stored

    def _taken(self) -> set[str]:
        return self._reserved | {name_key(voice.name) for voice in self._read_all()[0]}

    def _has_content(self, sha256: str) -> bool:
        return any(voice.record.sha256 == sha256 for voice in self._read_all()[0])

    def _read_all(self) -> tuple[list[StoredVoice], tuple[str, ...]]:
        voices: list[StoredVoice] = []
        problems: list[str] = []
        try:
            for folder in self._folders():
                try:
                    voices.append(_read(folder))
                except (FileNotFoundError, NotADirectoryError):
                    # Unless it was deleted since the folder was listed.
                    if folder.exists():
                        problems.append(f"{folder} is no voice and is left alone.")
                except (OSError, ValueError) as error:
                    problems.append(f"The voice in {folder} cannot be read: {error}.")
        except OSError as error:
            problems.append(f"The voices in {self.folder} cannot be read: {error}.")
        return voices, tuple(problems)

    def _folders(self) -> Iterator[Path]:
        if self._shipped.is_dir():
            yield from sorted(path for path in self._shipped.iterdir() if path.is_dir())
        yield from self._shelf.entries()


def _untaken(name: str, taken: Collection[str]) -> str:
    if name_key(name) in taken:
        raise InputError(f"There is a voice {name!r} already. Choose another name.")
    return name


def _read(folder: Path) -> StoredVoice:
    with (folder / _RECORD).open("rb") as file:
        content = file.read(MOST_RECORD_BYTES + 1)
    if len(content) > MOST_RECORD_BYTES:
        raise ValueError("its record is too large")
    return StoredVoice(folder.name, Record.from_json(content), folder / _AUDIO)
