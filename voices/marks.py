"""Every file of matched or cloned speech says what it is, in its metadata.

A mark is honest information for honest people: anybody can strip it. The watermark
(`voices.watermark`) is harder to strip.
"""

import io
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import av
import soundfile
from pydantic import TypeAdapter, ValidationError

from engines.base import ReferenceUse
from errors import InputError
from speech.pcm import Audio
from voices.disk import replace_synced, saving

Format = Literal["WAV", "FLAC", "OGG", "MP3"]

#: Begins the part of the comment that programs read.
_MACHINE = "parley-mark: "
_BLOCK = 2**16
#: Longer comments are not ours, characters.
_LONGEST = 10_000

_WORDS: dict[ReferenceUse, str] = {
    "clone": "in a voice cloned from the recording",
    "match": "in its own voice, moved towards the recording",
    "prompt": "in its own voice, its words conditioned on the recording",
}


@dataclass(frozen=True, slots=True)
class Made:
    """How a piece of speech was made.

    Attributes:
        engine: Name of the engine.
        voice: Name of the reference voice, or of a voice of the engine.
        use: What the engine made of the reference; None: a voice of the engine's own.
        when: ISO 8601, UTC.
        software: Parley and its version.
        watermarked: Whether there is an AudioSeal watermark in the sound too.
    """

    engine: str
    voice: str
    use: ReferenceUse | None
    when: str
    software: str
    watermarked: bool = False

    @property
    def sentence(self) -> str:
        """What people are told."""
        how = f"{_WORDS[self.use]} {self.voice!r}" if self.use else f"with the voice {self.voice!r}"
        mark = " It carries an AudioSeal watermark." if self.watermarked else ""
        return (
            f"Synthetic speech, not a recording of a person: made by {self.software}, engine"
            f" {self.engine}, {how}, {self.when}.{mark}"
        )


def encode_marked(audio: Audio, made: Made, kind: Format = "WAV") -> bytes:
    """Sound as the content of a file that says how it was made.

    Args:
        audio: Values beyond full scale are clipped.
        made: What the file says.
        kind: WAV and FLAC have 16 bits; OGG is Vorbis.
    """
    content = io.BytesIO()
    subtype = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}.get(kind, "PCM_16")
    with soundfile.SoundFile(content, "w", audio.rate, 1, subtype, format=kind) as sound:
        label(sound, made)
        # In blocks: the Vorbis encoder puts all it is given at once on the stack.
        pcm = audio.pcm16()
        for start in range(0, len(pcm), _BLOCK):
            sound.write(pcm[start : start + _BLOCK])
    return content.getvalue()


def write_marked(
    target: Path | BinaryIO, audio: Audio, made: Made, kind: Format | None = None
) -> None:
    """Write speech to a file that says how it was made.

    Args:
        target: A file to write or replace, or one that is open.
        audio: Values beyond full scale are clipped.
        made: What the file says.
        kind: None goes by the suffix of `target`, else WAV.

    Raises:
        UnavailableError: If the disk refuses; a file that was there stays then.
    """
    if isinstance(target, Path):
        content = encode_marked(audio, made, kind or _kind(target))
        with saving("The speech was not written", target.parent):
            target.parent.mkdir(parents=True, exist_ok=True)
            replace_synced(target, content)
    else:
        target.write(encode_marked(audio, made, kind or "WAV"))


def label(sound: soundfile.SoundFile, made: Made) -> None:
    """Mark a file that is open for writing, before the first sample goes in.

    WAV has it in its LIST/INFO chunk (ICMT, ISFT, ...), FLAC and OGG in the Vorbis
    comment, MP3 in its ID3 tag.
    """
    sound.title = "Synthetic speech"
    sound.artist = f"{made.software} (synthetic)"
    sound.software = made.software
    sound.date = made.when[:10]
    sound.comment = comment(made)


def comment(made: Made) -> str:
    """The comment of a file, for people and for programs.

    ASCII, since the INFO chunk of WAV has no encoding of its own.
    """
    return f"{made.sentence} {_MACHINE}{json.dumps(asdict(made))}"


def read_mark(path: Path) -> Made | None:
    """What a sound file says of how it was made; None if it says nothing of that kind.

    Args:
        path: Of any format with metadata, also one converted from what Parley wrote.

    Raises:
        InputError: If there is no such file, or it is no sound file.
    """
    try:
        with av.open(str(path)) as container:
            tags = [container.metadata, *(stream.metadata for stream in container.streams)]
            values = [str(value) for tag in tags for value in tag.values()]
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"{path.name} cannot be read as a sound file. Choose another one."
        ) from error
    for value in values:
        made = _parse(value)
        if made is not None:
            return made
    return None


def _parse(comment: str) -> Made | None:
    _, found, rest = comment[:_LONGEST].partition(_MACHINE)
    if not found:
        return None
    with suppress(ValueError, RecursionError, ValidationError):
        # Whatever a program adds to a comment comes after it.
        values: Any = json.JSONDecoder().raw_decode(rest)[0]
        return _adapter().validate_json(json.dumps(values), strict=True)
    return None


def _kind(path: Path) -> Format:
    kind = path.suffix.lstrip(".").upper()
    for known in get_args(Format):
        if kind == known:
            return known  # type: ignore[no-any-return]
    return "WAV"


@cache
def _adapter() -> TypeAdapter[Made]:
    return TypeAdapter(Made)
