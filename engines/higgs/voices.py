"""Who speaks: Higgs Audio's own voices, references, and the speakers of a dialogue."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engines.base import Reference, Voice
from engines.higgs.delay import Codes
from engines.higgs.prompt import ROOM, Part, Scene, Utterance
from errors import InputError
from speech.pcm import Audio
from speech.reference import choose

if TYPE_CHECKING:  # The page asks for the voices, and then torch need not be there.
    from engines.higgs.codec import Codec

#: Speech there has to be in a reference, and how much of it is read, seconds.
SHORTEST, LONGEST = 1.0, 30.0
#: Speakers of a dialogue are numbered from 0 up to, not including, this.
SPEAKERS = 4
#: Changes with anything that changes the codes of a reference.
_VERSION = 1

VOICES = (
    Voice("feminine", "*", "A woman; who she is differs from reply to reply"),
    Voice("masculine", "*", "A man; who he is differs from reply to reply"),
    Voice("free", "*", "Whoever the model thinks fits the text"),
)
#: What the model is told of speakers, in turn.
_KINDS = ("feminine", "masculine")
#: A tag, as it was written or as it is left once the text was cleaned for speech.
_TAG = re.compile(r"\[?\bSPEAKER ?(\d+)\b\]?:?")


@dataclass(frozen=True, slots=True)
class Line:
    """Words of one speaker; None where the text names none."""

    speaker: int | None
    text: str


def lines(text: str, speaker: int | None) -> Iterator[Line]:
    """Cut a text at the tags of its speakers.

    Args:
        text: May begin within somebody's words.
        speaker: Whose words those are.

    Raises:
        InputError: If a tag names a speaker there is not.
    """
    end = 0
    for tag in _TAG.finditer(text):
        if words := text[end : tag.start()].strip():
            yield Line(speaker, words)
        speaker = int(tag[1]) if len(tag[1]) == 1 else SPEAKERS
        if speaker >= SPEAKERS:
            raise InputError(
                f"There is no SPEAKER{tag[1]}. A dialogue has up to {SPEAKERS} speakers, "
                f"[SPEAKER0] to [SPEAKER{SPEAKERS - 1}]."
            )
        end = tag.end()
    if words := text[end:].strip():
        yield Line(speaker, words)


@dataclass(frozen=True, slots=True, eq=False)
class Cast:
    """The voices of one reply.

    Attributes:
        style: How to speak, in words; empty: as the model does.
        kind: Of the first speaker, by words: "feminine"; empty leaves it to the model.
        frames: Of a reference, who is the first speaker then.
        transcript: What is said in the reference; empty where nobody knows.
    """

    style: str = ""
    kind: str = ""
    frames: Codes | None = None
    transcript: str = ""

    def scene(self, others: int, *, dialogue: bool) -> Scene:
        """The scene of a text.

        Args:
            others: How many speakers there are beside the first.
            dialogue: Whether the text names its speakers.
        """
        room = f"{ROOM} {self.style}".strip()
        first: tuple[Part, ...] = ()
        if self.frames is not None and self.transcript and not dialogue:
            return Scene(room, before=(Utterance(self.transcript, self.frames),))
        if self.frames is not None:
            first = (Part("SPEAKER0", frames=self.frames),)
        elif self.kind or dialogue:
            first = (Part("SPEAKER0", self.kind or _KINDS[0]),)
        offset = _KINDS.index(self.kind) if self.kind in _KINDS else 0
        parts = tuple(
            Part(f"SPEAKER{number}", _KINDS[(number + offset) % len(_KINDS)])
            for number in range(1, others + 1)
        )
        return Scene(room, first + parts, dialogue=bool(first))


def cast(
    voice: str | Reference, style: str, encode: Callable[[Audio], Codes], codec: "Codec"
) -> Cast:
    """The voices of a reply in a voice.

    Args:
        voice: A name from `VOICES`, or a reference.
        style: How to speak, in words.
        encode: Of the codec, in its turn among the steps of others.
        codec: Whose codes they are.

    Raises:
        InputError: If there is too little speech in the reference.
    """
    if not isinstance(voice, Reference):
        return Cast(style, kind=voice if voice in _KINDS else "")
    # Of a longer recording a part is taken, and nobody knows what is said in that part.
    whole = voice.audio.seconds <= LONGEST
    excerpt = choose(voice.audio, SHORTEST, LONGEST)
    heard = voice.audio if whole else excerpt.audio

    def compute() -> bytes:
        return encode(heard).astype(np.uint16).tobytes()

    kept = voice.keep(f"higgs-codes-{_VERSION}-{codec.fingerprint}", compute)
    frames = _frames(kept, codec)
    if frames is None:
        frames = encode(heard)
    return Cast(style, frames=frames, transcript=voice.transcript.strip() if whole else "")


def _frames(kept: bytes, codec: "Codec") -> Codes | None:
    """Frames as they were kept; None if that is damaged."""
    if not kept or len(kept) % (2 * codec.books):
        return None
    frames = np.frombuffer(kept, np.uint16).reshape(-1, codec.books).astype(np.int64)
    return frames if frames.max() < codec.entries else None
