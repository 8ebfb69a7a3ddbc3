"""Voices as one file, out and in: a zip that is read with suspicion."""

import io
import json
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from errors import InputError
from voices.disk import replace_synced, saving
from voices.library import Draft, Library
from voices.record import (
    MOST_AUDIO_BYTES,
    MOST_RECORD_BYTES,
    Record,
    StoredVoice,
    check_audio,
    content_hash,
    decode,
)

SUFFIX = ".parleyvoices"
#: Voices in one file at most.
MOST_IN_ARCHIVE = 64
#: A full file of the longest recordings stays below, bytes.
MOST_BYTES = 200_000_000

_FORMAT = "parley-voices"
_VERSION = 1
_INDEX = f"{_FORMAT}.json"
#: The date of every member, so that the same voices make the same file.
_DATE = (1980, 1, 1, 0, 0, 0)
#: What the zip library raises for damaged files, besides `BadZipFile`.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    MemoryError,
)


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did.

    Attributes:
        voices: The voices that were stored.
        notes: What the person should know about it, sentences.
    """

    voices: tuple[StoredVoice, ...]
    notes: tuple[str, ...]


def export_voices(library: Library, names: Sequence[str], target: Path | BinaryIO) -> None:
    """Write voices to one file; features are left out, they are made again.

    Args:
        library: Where the voices are.
        names: At least one, at most `MOST_IN_ARCHIVE`.
        target: A file to write or replace, or one that is open.

    Raises:
        InputError: If there is no such voice, or too many are asked for.
        UnavailableError: If the disk refuses; a file that was there stays then.
    """
    if not names:
        raise InputError("No voice is chosen. Choose the voices to export.")
    if len(names) > MOST_IN_ARCHIVE:
        raise InputError(
            f"{len(names)} voices are chosen; one file holds {MOST_IN_ARCHIVE}."
            " Export them in several files."
        )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        index = {"format": _FORMAT, "version": _VERSION, "voices": len(names)}
        _add(archive, _INDEX, json.dumps(index).encode())
        for number, name in enumerate(names, 1):
            voice = library.find(name)
            # A login is a matter of this server.
            record = replace(voice.record, owner="")
            record_member, audio_member = _members(number)
            _add(archive, record_member, record.to_json())
            _add(archive, audio_member, _recording(voice))
    if isinstance(target, Path):
        with saving("The voices were not exported", target.parent):
            replace_synced(target, content.getvalue())
    else:
        target.write(content.getvalue())


def import_voices(library: Library, source: Path | BinaryIO, *, owner: str = "") -> Imported:
    """Store the voices of an export file: all of them, or none.

    Nothing is unpacked by name: members are read into memory one by one, and only those
    that an export has. Human voices keep the consent record of the file, which nobody
    here can verify; without one they are refused while the library asks for consent.

    Args:
        library: Where the voices go.
        source: The file.
        owner: Login of who imports; empty on a server without logins.

    Raises:
        InputError: If the file is anything else than an export, damaged, or too large, or
            a voice in it may not be stored; the message says which and why.
        UnavailableError: If the disk refuses; nothing was stored then.
    """
    if isinstance(source, Path):
        try:
            with source.open("rb") as file:
                return import_voices(library, file, owner=owner)
        except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
            raise InputError(f"I cannot read {source.name}: {error.strerror}.") from error
    size = source.seek(0, io.SEEK_END)
    if size > MOST_BYTES:
        raise InputError(
            f"This file has {size / 1e6:.0f} MB; {MOST_BYTES / 1e6:.0f} MB is the limit."
            " Export fewer voices at once."
        )
    source.seek(0)
    try:
        archive = zipfile.ZipFile(source)
    except _DAMAGE as error:
        raise InputError(
            f"This is no export of voices, or only a part of one ({error}). Export it again."
        ) from error
    with archive:
        count = _check_members(archive)
        drafts = [_draft(archive, number, owner) for number in range(1, count + 1)]
    voices = library.add_all(drafts)
    notes = tuple(_notes(drafts, voices))
    return Imported(tuple(voices), notes)


def _members(number: int) -> tuple[str, str]:
    """Names of the record and the recording of a voice in a file."""
    return f"{number}/voice.json", f"{number}/audio.flac"


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    # Stored, since FLAC does not get smaller.
    archive.writestr(zipfile.ZipInfo(name, _DATE), content)


def _recording(voice: StoredVoice) -> bytes:
    try:
        content = voice.path.read_bytes()
        if content_hash(decode(content)) != voice.record.sha256:
            raise ValueError("its recording is damaged")
    except (OSError, ValueError) as error:
        raise InputError(f"{voice.name!r} cannot be exported: {error}.") from error
    return content


def _check_members(archive: zipfile.ZipFile) -> int:
    """How many voices the file has, after a look at what it says of its members."""
    members = archive.infolist()
    if len(members) > 2 * MOST_IN_ARCHIVE + 1:
        raise InputError(f"This file has more than {MOST_IN_ARCHIVE} voices. Export fewer at once.")
    # The zip library unpacks no more of a member than the size it declares.
    if sum(member.file_size for member in members) > MOST_BYTES:
        raise InputError(
            f"Unpacked, this file has more than {MOST_BYTES / 1e6:.0f} MB. Export fewer at once."
        )
    names = [member.filename for member in members]
    for member in members:
        # As the file has it: the zip library shortens names at a zero byte.
        name = member.orig_filename
        # From outside Unix the upper half is zero, which is a plain file too.
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in {0, stat.S_IFREG}:
            raise InputError(f"This file was refused: {name[:80]!r} in it is no plain file.")
        if name.startswith(("/", "\\")) or ".." in name or ":" in name or "\\" in name:
            raise InputError(
                f"This file was refused: {name[:80]!r} in it points outside the library."
            )
        if member.flag_bits & 1:
            raise InputError("This file is encrypted. Export the voices without a password.")
    if len(set(names)) < len(names):
        raise InputError("This file was refused: it has two members of one name.")
    if _INDEX not in names:
        raise InputError(f"This is no export of voices: {_INDEX} is missing in it.")
    count = _count(_read(archive, _INDEX, MOST_RECORD_BYTES))
    wanted = {_INDEX, *(name for number in range(1, count + 1) for name in _members(number))}
    for name in sorted(set(names) ^ wanted):
        state = "is missing" if name in wanted else "does not belong there"
        raise InputError(f"This file was refused: {name[:80]!r} {state}. Export it again.")
    return count


def _count(index: bytes) -> int:
    try:
        values = json.loads(index)
    except (ValueError, RecursionError) as error:
        raise InputError(f"This export of voices is damaged: {_INDEX} is no JSON.") from error
    if not isinstance(values, dict) or values.get("format") != _FORMAT:
        raise InputError(f"This is no export of voices: {_INDEX} does not say so.")
    version, count = values.get("version"), values.get("voices")
    if type(version) is int and version > _VERSION:
        raise InputError("This export was made by a newer Parley. Update this one.")
    if type(version) is not int or type(count) is not int or count < 1:
        raise InputError(f"This export of voices is damaged: {_INDEX} has wrong values.")
    if count > MOST_IN_ARCHIVE:
        raise InputError(f"This file has more than {MOST_IN_ARCHIVE} voices. Export fewer at once.")
    return count


def _draft(archive: zipfile.ZipFile, number: int, owner: str) -> Draft:
    """One voice of the file, checked."""
    record_member, audio_member = _members(number)
    content = _read(archive, record_member, MOST_RECORD_BYTES)
    audio = _read(archive, audio_member, MOST_AUDIO_BYTES)
    name = f"voice {number}"
    try:
        record = Record.from_json(content)
        name = repr(record.name)
        sound = decode(audio)
        check_audio(sound)
        if content_hash(sound) != record.sha256:
            raise ValueError("its recording is not the one of its record")
    except (ValueError, InputError) as error:
        raise InputError(f"Nothing was imported: {name} in this file: {error}") from error
    return Draft(
        replace(
            record,
            # What came with another Parley did not come with this one.
            origin="synthetic" if record.origin == "shipped" else record.origin,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(sound.seconds, 3),
            rate=sound.rate,
            owner=owner,
            imported=True,
        ),
        audio,
    )


def _read(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """A member, of which no more than the limit is unpacked whatever it says of its size."""
    try:
        with archive.open(name) as member:
            content = member.read(limit + 1)
    except _DAMAGE as error:
        raise InputError(f"This file is damaged: {name} cannot be read ({error}).") from error
    if len(content) > limit:
        raise InputError(f"This file was refused: {name} in it is larger than {limit} bytes.")
    return content


def _notes(drafts: Sequence[Draft], voices: Sequence[StoredVoice]) -> Iterator[str]:
    for draft, voice in zip(drafts, voices, strict=True):
        if voice.name != draft.record.name:
            yield f"There was a voice {draft.record.name!r} already; this one is {voice.name!r}."
        if voice.record.human:
            yield f"{voice.name}: {voice.record.consent_note}"
