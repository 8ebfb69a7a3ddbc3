"""A dialogue as the page shows it: one thread for each task of a session."""

import re
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

from gradio.components.chatbot import ComponentMessage

from demos.clips import ClipWriter, Player
from demos.shelf import Shelf, in_dialogue
from engines.messages import (
    AudioChunk,
    Conversation,
    Event,
    Finished,
    Message,
    Notice,
    Span,
    TextDelta,
    Timings,
    Transcript,
    Turn,
    Unanswered,
)
from voices.marks import Made

#: What the figures under a reply mean, shown on hover.
FIGURES = (
    ("recognized", "recognition", "From the start of the work to the final transcript"),
    ("first_token", "first token", "To the first piece of text from the chat model"),
    ("first_audio", "first sound", "To the first speech handed to your browser"),
    ("total", "total", "To the end of the reply"),
)
#: What markdown or HTML would take for more than itself.
PUNCTUATION = re.compile(r"[&<>\[\]*_`~|#\\$]")
#: Code, which shows what it holds anyway, or the beginning of HTML or of an image.
CODE_OR_MARKUP = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]+`)|<|!\[", re.DOTALL)
#: Pictures and frames that a dialogue keeps, bytes; a minute of video has some four million.
MOST_SEEN = 32_000_000
MARKUP = {"<": "&lt;", "![": "!&#91;"}


@dataclass(frozen=True, slots=True)
class Ask:
    """What a user gave: a sound file, a text, and what they showed with it, or some of that."""

    clip: str | None = None
    text: str = ""
    shelf: Shelf = field(default_factory=Shelf)


@dataclass(frozen=True, slots=True)
class Thread:
    """A dialogue so far; a value that belongs to one session.

    Attributes:
        messages: As the chat shows them.
        conversation: As the model is given it.
        last: What was asked last, for a retry.
        before: The thread before it was asked.
    """

    messages: tuple[dict[str, Any], ...] = ()
    conversation: Conversation = field(default_factory=Conversation)
    last: Ask | None = None
    before: "Thread | None" = None

    def asking(self, ask: Ask, *, system: str, limit: int) -> "Thread":
        """The thread with a new question; only one step back is kept."""
        conversation = replace(self.conversation, system=system, limit=limit)
        before = replace(self, before=None)
        return replace(self, conversation=conversation, last=ask, before=before)


class Reply:
    """Follows the events of one request and draws them.

    Args:
        thread: The thread with the question (`Thread.asking`).
        player: Shows clips.
        is_transcript: The transcript is the answer (ASR), not the question.
    """

    def __init__(self, thread: Thread, player: Player, *, is_transcript: bool) -> None:
        assert thread.last is not None
        self._thread = thread
        self._ask = thread.last
        self._player = player
        self._is_transcript = is_transcript
        self._heard = ""
        self._spans: tuple[Span, ...] = ()
        self._said = ""
        self._made: Made | None = None
        self._writer: ClipWriter | None = None
        self._clip: ComponentMessage | None = None
        self._timings: Timings | None = None
        self._notice = ""
        self._told: list[str] = []
        self._notes: tuple[str, ...] = ()
        self._own_clip = player.show(self._ask.clip) if self._ask.clip else None
        self._seen = in_dialogue(self._ask.shelf.things)

    def mark(self, made: Made | None) -> None:
        """Say what the file of the reply has to say of itself; before the first sound."""
        self._made = made

    def remark(self, notes: tuple[str, ...]) -> None:
        """Add notes on the user's clip."""
        self._notes = notes

    def take(self, event: Event) -> None:
        """Note what happened."""
        match event:
            case Transcript():
                self._heard, self._spans = event.text, event.spans
                if event.final and self._ask.clip:
                    self._own_clip = self._player.show(self._ask.clip, self._spans)
            case TextDelta():
                self._said += event.text
            case AudioChunk():
                if self._writer is None:
                    self._writer = ClipWriter(event.audio.rate, made=self._made)
                self._writer.add(event.audio)
            case Notice(once=True) if self._was_told(event.text):
                pass
            case Notice() | Unanswered():
                self._told.append(event.text)
            case Finished():
                self._timings = event.timings

    def end(self, notice: str = "") -> Thread:
        """Close the clip and return the thread with this exchange.

        Args:
            notice: Why the reply ended early; empty if it did not.
        """
        self._notice = notice
        if self._writer is not None:
            self._writer.close()
            self._clip = self._player.show(self._writer.path)
        conversation = self._thread.conversation
        if self._said:
            question = Turn(text=self._ask.text).question(self._heard)
            shelf = self._ask.shelf
            asked = Message("user", question, images=shelf.images, frames=shelf.frames)
            said = (*conversation.messages, asked, Message("assistant", self._said))
            conversation = replace(conversation, messages=_within_memory(said))
        return replace(self._thread, messages=tuple(self.messages()), conversation=conversation)

    def messages(self, waiting: str = "") -> list[dict[str, Any]]:
        """The whole thread as the chat shows it now; `waiting` says what for."""
        heard = "" if self._is_transcript else self._heard
        answer = plain(self._heard) if self._is_transcript else without_markup(self._said)
        notes = [_aside(note, "note") for note in self._notes]
        typed = plain(self._ask.text.strip())
        asked = [self._seen or None, self._own_clip, typed or None, plain(heard) or None, *notes]
        replied = [
            answer or None,
            self._clip,
            _aside(waiting, "waiting") if waiting and not answer else None,
            *(_aside(told, "notice") for told in self._told),
            _aside(self._notice, "notice") if self._notice else None,
            _figures(self._timings) if self._timings else None,
        ]
        return [
            *self._thread.messages,
            *({"role": "user", "content": part} for part in asked if part is not None),
            *({"role": "assistant", "content": part} for part in replied if part is not None),
        ]

    def _was_told(self, text: str) -> bool:
        """Whether it stands in the thread already."""
        aside = _aside(text, "notice")
        return any(message["content"] == aside for message in self._thread.messages)

    @property
    def spans(self) -> tuple[Span, ...]:
        """The timed words of the user's clip, as far as they are known."""
        return self._spans


def _within_memory(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages, of which the oldest forget what was shown with them if that is too much."""
    size, kept = 0, list[Message]()
    for message in reversed(messages):
        size += sum(len(image) for image in message.seen)
        kept.append(message if size <= MOST_SEEN else message.unseen())
    return tuple(reversed(kept))


def plain(text: str) -> str:
    """Text of people, in markdown that shows it as it is."""
    return PUNCTUATION.sub(lambda mark: f"&#{ord(mark[0])};", text)


def without_markup(text: str) -> str:
    """Text of a model: its markdown counts, but no HTML and no images (see `demos.page`)."""
    return CODE_OR_MARKUP.sub(lambda found: found[1] or MARKUP[found[0]], text)


def _aside(text: str, kind: str) -> str:
    return f'<span class="parley-{kind}">{escape(text)}</span>'


def _figures(timings: Timings) -> str:
    shown = [
        f'<span title="{meaning}">{label} {seconds:.2f} s</span>'
        for name, label, meaning in FIGURES
        if (seconds := getattr(timings, name)) is not None
    ]
    if (factor := timings.real_time_factor) is not None:
        meaning = "Seconds of work per second of sound; below 1 is faster than real time"
        shown.append(f'<span title="{meaning}">real-time factor {factor:.2f}</span>')
    return f'<span class="parley-timings">{" · ".join(shown)}</span>'
