"""The items of a conversation: what was said, and of a reply what was heard."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from engines.base import Conversation, Message
from live.protocol import ProtocolError, new_id
from speech.pcm import Audio

Role = Literal["user", "assistant", "system"]

#: What a session keeps of its dialogue at most, items and bytes: hours of talk, minutes of
#: speech that was sent as items. A model is shown the last few.
MOST_ITEMS, MOST_BYTES = 1000, 16_000_000


@dataclass(slots=True)
class Item:
    """One message.

    Attributes:
        role: Whose.
        text: What was said; of a reply, what the listener heard.
        spoken: It was said aloud.
        status: As the protocol names it.
        audio: Of the user's, as long as it was not recognized.
        pieces: Of a spoken reply: each piece's words and its end in the audio, ms.
        id: The protocol's.
    """

    role: Role
    text: str = ""
    spoken: bool = False
    status: Literal["in_progress", "completed", "incomplete"] = "completed"
    audio: Audio | None = None
    pieces: list[tuple[str, float]] = field(default_factory=list)
    id: str = field(default_factory=lambda: new_id("item"))

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
        """The item as the protocol shows it."""
        if self.role == "assistant":
            part = (
                {"type": "output_audio", "transcript": self.text}
                if self.spoken
                else {"type": "output_text", "text": self.text}
            )
        else:
            part = (
                {"type": "input_audio", "transcript": self.text}
                if self.spoken
                else {"type": "input_text", "text": self.text}
            )
        content = [part] if self.status != "in_progress" else []
        return {
            "id": self.id,
            "object": "realtime.item",
            "type": "message",
            "role": self.role,
            "status": self.status,
            "content": content,
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

    def conversation(self, system: str, limit: int, *, before: Item | None = None) -> Conversation:
        """What the engine is given: everything said, up to `before`."""
        shown = self._items[: self._items.index(before)] if before in self._items else self._items
        extra = [item.text for item in shown if item.role == "system"]
        messages = tuple(
            Message(item.role, item.text) for item in shown if item.text and item.role != "system"
        )
        return Conversation("\n".join(filter(None, (system, *extra))), messages, limit)
