"""What goes between a session and an engine: what is said, and what comes of it.

All of it is values: nobody can change what somebody else was given.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from engines.images import Image
from speech.pcm import Audio


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a transcript; `start` and `end` in seconds from the start of the clip."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Text to append to the reply."""

    text: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was recognized so far: the whole text, not a difference.

    Attributes:
        text: Everything recognized up to now.
        final: True once, for the last transcript of the clip.
        spans: Words, or segments where the recognizer times no words.
        heard: Seconds of the clip that have been worked through.
        language: ISO 639-1 code, where the recognizer tells.
    """

    text: str
    final: bool
    spans: tuple[Span, ...] = ()
    heard: float = 0.0
    language: str | None = None


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """The next piece of speech; the pieces of a reply join without a gap.

    Attributes:
        audio: The piece.
        text: What it says, where the engine knows: after an interruption, this tells
            what was heard. A piece without a text goes on with that of the one before.
    """

    audio: Audio
    text: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the listener should know of a reply that goes on: a sentence was not spoken.

    Attributes:
        text: That in words, for people.
        once: It holds for the whole conversation: in the same words it is told only once.
    """

    text: str
    once: bool = False


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The engine heard, and chose not to answer: what was said was not meant for it.

    No text and no speech come with it, and the turn belongs to no history.

    Attributes:
        text: That in words, for people.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """The engine works on others first; told at first and whenever it changes.

    Attributes:
        ahead: Requests that come before this one, those that are worked on included.
    """

    ahead: int


@dataclass(frozen=True, slots=True)
class Timings:
    """When things happened, in seconds after the request began; None: did not happen.

    Attributes:
        encoded: What was said or shown had gone through the encoders of a model that takes it
            in without words.
        recognized: The final transcript was there.
        first_token: The chat model's first token was there.
        first_clause: The first speakable clause was there.
        first_audio: The first speech was handed out.
        total: The reply was complete.
        audio: Duration of the speech that was made (or heard, for ASR), seconds.
    """

    encoded: float | None = None
    recognized: float | None = None
    first_token: float | None = None
    first_clause: float | None = None
    first_audio: float | None = None
    total: float = 0.0
    audio: float = 0.0

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of work per second of audio; below 1 keeps up with playback."""
        return self.total / self.audio if self.audio else None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a reply cost: tokens of the chat model, of which some were cached."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    reply_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of every request that was not cancelled and did not fail."""

    timings: Timings
    usage: Usage = Usage()


Event = TextDelta | Transcript | AudioChunk | Notice | Unanswered | Waiting | Finished


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a dialogue; where something was shown, the text may be empty.

    Attributes:
        role: Whose it is.
        text: What was said or typed.
        images: Pictures that came with it.
        frames: Moments of a video or of the camera, oldest first.
    """

    role: Literal["user", "assistant"]
    text: str
    images: tuple[Image, ...] = ()
    frames: tuple[Image, ...] = ()

    @property
    def seen(self) -> tuple[Image, ...]:
        """All that was shown, for those to whom a frame is a picture."""
        return self.images + self.frames

    def unseen(self) -> "Message":
        """The message without what was shown; a word stands for it where there was nothing else."""
        if not self.seen:
            return self
        text = self.text or ("(an image)" if self.images else "(a video)")
        return Message(self.role, text)


@dataclass(frozen=True, slots=True)
class Conversation:
    """The dialogue of one session so far; a value, so nobody else can change it.

    Attributes:
        system: Instructions to the model; empty means the engine's own.
        messages: What was said, oldest first.
        limit: How many messages the model is shown at most; older ones are kept but not sent.
    """

    system: str = ""
    messages: tuple[Message, ...] = ()
    limit: int = 20

    def after(self, question: str, answer: str) -> "Conversation":
        """The conversation with one more exchange."""
        said = (Message("user", question), Message("assistant", answer))
        return replace(self, messages=self.messages + said)

    def without_last_exchange(self) -> "Conversation":
        """The conversation before its last exchange (for a retry)."""
        return replace(self, messages=self.messages[:-2])

    def unseen(self) -> "Conversation":
        """The conversation without what was shown in it."""
        return replace(self, messages=tuple(message.unseen() for message in self.messages))

    def visible(self) -> tuple[Message, ...]:
        """The newest messages within the limit, beginning with one of the user's.

        Beyond the limit half of them go at once, so that what a model has read of
        the dialogue stays its beginning for some turns more.
        """
        if self.limit <= 0:
            return ()
        shown = self.messages[self._stepped(len(self.messages) - self.limit, math.ceil) :]
        return shown[1:] if shown and shown[0].role == "assistant" else shown

    def trimmed(self, most: int) -> "Conversation":
        """The conversation without old messages, if there are more than about `most`.

        Args:
            most: At least `limit`; what is visible stays.
        """
        surplus = self._stepped(len(self.messages) - most, math.floor)
        return replace(self, messages=self.messages[surplus:])

    def _stepped(self, surplus: int, whole: Callable[[float], int]) -> int:
        """A number of messages to leave out: whole exchanges, half of the limit at a time."""
        step = max(2, self.limit // 4 * 2)
        return max(0, whole(surplus / step) * step)


@dataclass(frozen=True, slots=True)
class Turn:
    """What the user says now: speech, text, or both, with something shown or without, or only that.

    Attributes:
        audio: Speech, any rate and length.
        text: What was typed.
        images: Pictures.
        frames: Moments of a video or of the camera, oldest first.
    """

    audio: Audio | None = None
    text: str = ""
    images: tuple[Image, ...] = ()
    frames: tuple[Image, ...] = ()

    @property
    def seen(self) -> tuple[Image, ...]:
        """All that is shown, for those to whom a frame is a picture."""
        return self.images + self.frames

    @property
    def empty(self) -> bool:
        """Whether there is nothing to answer."""
        return self.audio is None and not self.text.strip() and not self.seen

    def question(self, heard: str) -> str:
        """The turn as text: what was typed, then what was heard in the audio."""
        return "\n".join(filter(None, (self.text.strip(), heard)))


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        temperature: 0 takes the likeliest token each time.
        max_tokens: Longest reply of the chat model, tokens.
        seed: Fixes every random number of the request; None draws a fresh seed.
        top_p: Only the likeliest tokens that together are this probable are drawn from, above 0
            and up to 1; None takes the engine's own.
    """

    temperature: float = 0.7
    max_tokens: int = 256
    seed: int | None = None
    top_p: float | None = None
