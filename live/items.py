"""The items of a conversation: what was said, and of a reply what was heard."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from engines.base import EngineInfo
from engines.images import Image
from engines.messages import Conversation, Message
from live.protocol import RATE, ProtocolError, new_id, read_audio, read_image
from speech.pcm import Audio

#: Images and frames that a session keeps; beyond either limit the oldest are forgotten.
MOST_IMAGES = 16
MOST_IMAGE_BYTES = 16_000_000

Role = Literal["user", "assistant", "system"]

#: What a session keeps of its dialogue at most, items and bytes: hours of talk, minutes of
#: speech that was sent as items. A model is shown the last few.
MOST_ITEMS, MOST_BYTES = 1000, 16_000_000
#: Longest id of an item, characters.
MOST_ID = 128


@dataclass(slots=True)
class Item:
    """One message.

    Attributes:
        role: Whose.
        text: What was said; of a reply, what the listener heard.
        spoken: It was said aloud.
        status: As the protocol names it.
        audio: Of the user's, as long as it was not recognized.
        images: What the user showed with it.
        frames: What the camera saw with it, oldest first.
        pieces: Of a spoken reply: each piece's words and its end in the audio, ms.
        id: The protocol's.
    """

    role: Role
    text: str = ""
    spoken: bool = False
    status: Literal["in_progress", "completed", "incomplete"] = "completed"
    audio: Audio | None = None
    images: tuple[Image, ...] = ()
    frames: tuple[Image, ...] = ()
    pieces: list[tuple[str, float]] = field(default_factory=list)
    id: str = field(default_factory=lambda: new_id("item"))

    @classmethod
    def created(cls, given: Any, engine: EngineInfo) -> "Item":
        """An item as a client creates it.

        Args:
            given: One of the items of `openai.types.realtime`.
            engine: Who will answer it.

        Raises:
            ProtocolError: If it is none that can be said here, or shown to this engine.
        """
        if getattr(given, "type", None) != "message":
            raise ProtocolError(
                "Only messages can be created here.", "invalid_value", param="item.type"
            )
        if given.id and len(given.id) > MOST_ID:
            raise ProtocolError(
                f"The id of an item has at most {MOST_ID} characters.",
                "invalid_value",
                param="item.id",
            )
        texts: list[str] = []
        audio: Audio | None = None
        images: list[Image] = []
        for number, part in enumerate(given.content):
            if part.type == "input_image":
                if not engine.can_see:
                    raise ProtocolError(engine.blind, "cannot_see", param="item.content")
                images.append(read_image(part.image_url or "", f"item.content.{number}.image_url"))
            if part.type == "input_audio" and part.audio:
                audio = Audio.from_pcm16(read_audio(part.audio), RATE)
            texts.append(part.text or getattr(part, "transcript", None) or "")
        text = "\n".join(filter(None, texts))
        if not text and audio is None and not images:
            raise ProtocolError("This item is empty.", "invalid_value", param="item.content")
        if len(images) > MOST_IMAGES:
            raise ProtocolError(
                f"An item has at most {MOST_IMAGES} images.", "invalid_value", param="item.content"
            )
        return cls(
            given.role,
            text,
            spoken=audio is not None,
            audio=audio,
            images=tuple(images),
            id=given.id or new_id("item"),
        )

    @property
    def seen(self) -> tuple[Image, ...]:
        """All that was shown with it."""
        return self.images + self.frames

    @property
    def size(self) -> int:
        """About how much memory it takes, bytes."""
        words = len(self.text) + sum(len(text) for text, _ in self.pieces)
        return words + (self.audio.samples.nbytes if self.audio else 0)

    def heard(self, audio_ms: float) -> str:
        """The words within the first `audio_ms` of the reply.

        A piece that was cut short counts by the word, in proportion to the time.
        """
        words: list[str] = []
        begin = 0.0
        for text, end in self.pieces:
            if audio_ms >= end:
                words.append(text.strip())
            elif audio_ms > begin:
                said = text.split()
                words += said[: int(len(said) * (audio_ms - begin) / (end - begin))]
            begin = end
        return " ".join(filter(None, words))

    def as_event(self) -> dict[str, Any]:
        """The item as the protocol shows it; images are named, not repeated."""
        side = "output" if self.role == "assistant" else "input"
        content: list[dict[str, Any]] = []
        if self.spoken:
            content.append({"type": f"{side}_audio", "transcript": self.text})
        elif self.text or not self.seen:
            content.append({"type": f"{side}_text", "text": self.text})
        content += [{"type": "input_image"}] * len(self.seen)
        return {
            "id": self.id,
            "object": "realtime.item",
            "type": "message",
            "role": self.role,
            "status": self.status,
            "content": content if self.status != "in_progress" else [],
        }


class Items:
    """The items of one session, in order; the oldest go when there are too many.

    Args:
        on_forgotten: Told the id of an item that had to go.
    """

    def __init__(self, on_forgotten: Callable[[str], None] = lambda _: None) -> None:
        self._on_forgotten = on_forgotten
        self._items: list[Item] = []

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Insert an item; returns the id of the one before it.

        Args:
            item: The new one.
            after: Id of the one before; "root" for the beginning, None for the end.

        Raises:
            ProtocolError: If there is no such item, or the id is taken.
        """
        if any(known.id == item.id for known in self._items):
            raise ProtocolError(f"There is an item {item.id!r} already.", "item_exists")
        place = len(self._items)
        if after == "root":
            place = 0
        elif after is not None:
            place = self._items.index(self.get(after)) + 1
        self._items.insert(place, item)
        self._forget_images()
        previous = self._items[place - 1].id if place else None
        self._make_room(item)
        return previous

    def get(self, item_id: str) -> Item:
        """An item by its id.

        Raises:
            ProtocolError: If there is none.
        """
        for item in self._items:
            if item.id == item_id:
                return item
        raise ProtocolError(f"There is no item {item_id!r}.", "item_not_found", param="item_id")

    def delete(self, item_id: str) -> None:
        """Take an item out.

        Raises:
            ProtocolError: If there is none.
        """
        self._items.remove(self.get(item_id))

    def forget(self, item_id: str) -> None:
        """Take an item out, if it is still there, and say so."""
        if any(item.id == item_id for item in self._items):
            self.delete(item_id)
            self._on_forgotten(item_id)

    def _make_room(self, newest: Item) -> None:
        size = sum(item.size for item in self._items)
        while len(self._items) > MOST_ITEMS or (size > MOST_BYTES and len(self._items) > 1):
            others = (item for item in self._items if item is not newest)
            # Instructions hold for the whole dialogue, so they go last.
            oldest = min(others, key=lambda item: item.role == "system")
            self._items.remove(oldest)
            size -= oldest.size
            self._on_forgotten(oldest.id)

    def last_question(self) -> Item | None:
        """The newest item, if it is the user's."""
        newest = self._items[-1] if self._items else None
        return newest if newest is not None and newest.role == "user" else None

    def show(self, item: Item, frames: tuple[Image, ...]) -> None:
        """Add what the camera saw while an item was said."""
        item.frames += frames
        self._forget_images()

    def have_images(self) -> bool:
        """Whether anything was shown with any item."""
        return any(item.seen for item in self._items)

    def unanswered(self, until: Item | None = None) -> tuple[tuple[Image, ...], tuple[Image, ...]]:
        """What the user has shown since the last answer: it belongs to the next question.

        Args:
            until: The last item that counts; None for the newest.

        Returns:
            Images, and frames of the camera.
        """
        items = self._until(until) + ([until] if until in self._items else [])
        open_ = items[_answered(items) :]
        images = tuple(image for item in open_ for image in item.images)
        return images, tuple(frame for item in open_ for frame in item.frames)

    def conversation(
        self, system: str, limit: int, *, before: Item | None = None, images: bool = False
    ) -> Conversation:
        """What the engine is given: everything said, up to `before`.

        Args:
            system: The instructions.
            limit: How many messages it is shown.
            before: The question, if it is an item already.
            images: Answered messages keep what was shown with them; else a word stands for
                those that have nothing else.
        """
        shown = self._until(before)
        extra = [item.text for item in shown if item.role == "system"]
        messages: list[Message] = []
        answered = _answered(shown)
        for number, item in enumerate(shown):
            if item.role == "system":
                continue
            if item.seen and number < answered:
                message = Message(item.role, item.text, images=item.images, frames=item.frames)
                messages.append(message if images else message.unseen())
            elif item.text:
                messages.append(Message(item.role, item.text))
        return Conversation("\n".join(filter(None, (system, *extra))), tuple(messages), limit)

    def _until(self, item: Item | None) -> list[Item]:
        return self._items[: self._items.index(item)] if item in self._items else self._items[:]

    def _forget_images(self) -> None:
        count = size = 0

        def kept(images: tuple[Image, ...]) -> tuple[Image, ...]:
            nonlocal count, size
            newest: list[Image] = []
            for image in reversed(images):
                count, size = count + 1, size + len(image)
                if count <= MOST_IMAGES and size <= MOST_IMAGE_BYTES:
                    newest.insert(0, image)
            return tuple(newest)

        for item in reversed(self._items):
            item.frames = kept(item.frames)
            item.images = kept(item.images)


def _answered(items: list[Item]) -> int:
    """How many items there are up to and with the last answer of which anything was heard."""
    answers = (n for n, item in enumerate(items, 1) if item.role == "assistant" and item.text)
    return max(answers, default=0)
