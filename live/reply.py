"""One reply on its way out: made on a thread, paced to the listener, stopped at once."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import Cancel
from errors import CancelledError, ParleyError
from live.config import Config
from live.items import Item
from live.protocol import RATE, new_id
from live.stopwatch import Marks
from speech.pcm import Audio

#: Speech is sent in slices of this length, seconds.
SLICE = 0.1
#: What makes it safe to begin where the engine has others to answer too, and how long a reply
#: is held back at most until there is as much; seconds for each of the others. Late is better
#: than with a gap.
PLENTY, PATIENCE = 2.0, 4 / 3
#: Beyond so many others, more change nothing: they wait for their turn.
MOST_OTHERS = 3
#: How far ahead of the playhead speech is sent, seconds: enough for a network's hiccups,
#: little to unsay after an interruption.
AHEAD = 0.5


class Reply:
    """A reply; at first it may be a guess, begun before the turn is certainly over.

    Attributes:
        id: The protocol's.
        item: What the listener hears of it.
        cancel: Stops the engine.
        marks: When things happened.
        config: The settings it was begun with.
        metadata: The client's own notes on it, given back.
        question: What it answers, once the turn is over.
        asked: The client asked for it, so it is told whatever goes wrong.
        heard: The question's words.
        seconds: Duration of the question.
        refusal: Why there is no transcript, if there is none.
        unanswered: Why there is no answer, if the engine chose to give none.
        transcribed: Set once `heard` or `refusal` is there.
        released: Set once it is certain that the turn is over; nothing is sent before.
        made: The engine has made all of it.
        opened: The client knows of it.
        finished: The client knows that it is over.
    """

    def __init__(self, marks: Marks) -> None:
        self.id = new_id("resp")
        self.item = Item("assistant", spoken=True, status="in_progress")
        self.cancel = Cancel()
        self.marks = marks
        self.config: Config | None = None
        self.metadata: dict[str, str] | None = None
        self.question: Item | None = None
        self.asked = False
        self.heard = ""
        self.seconds = 0.0
        self.refusal: ParleyError | None = None
        self.unanswered = ""
        self.transcribed = asyncio.Event()
        self.released = asyncio.Event()
        self.made = False
        self.opened = False
        self.finished = False

    def refuse(self, error: ParleyError | None) -> None:
        """Note that the request ended early; nobody waits for a transcript any more."""
        if not self.transcribed.is_set():
            self.refusal = error or CancelledError("Stopped.")
            self.transcribed.set()

    @property
    def place(self) -> dict[str, Any]:
        """Where its one piece of content is, as events say it."""
        return {
            "response_id": self.id,
            "item_id": self.item.id,
            "output_index": 0,
            "content_index": 0,
        }

    def part(self, text: str) -> dict[str, Any]:
        """Its content as the protocol shows it."""
        if self.item.spoken:
            return {"type": "audio", "transcript": text}
        return {"type": "text", "text": text}

    def as_event(self, status: str, reason: str | None = None) -> dict[str, Any]:
        """The response as the protocol shows it."""
        details = None
        if status not in ("in_progress", "completed"):
            details = {"type": status, "reason": reason}
        return {
            "id": self.id,
            "object": "realtime.response",
            "status": status,
            "status_details": details,
            "output": [] if status == "in_progress" else [self.item.as_event()],
            "output_modalities": ["audio"] if self.item.spoken else ["text"],
            "metadata": self.metadata,
        }


class Pacer:
    """Sends speech so that it stays a little ahead of what has been played.

    A client that reports its playhead is followed; of another one it is assumed
    that it plays from the first slice on without a pause.

    Args:
        send: Sends a slice, int16 `[n]` at the rate of the protocol.
        others: How many others the engine may have to answer meanwhile: the next clause may
            be late then, so the first slice is held back until there is `PLENTY`.
    """

    def __init__(self, send: Callable[[NDArray[np.int16]], None], others: int = 0) -> None:
        self._send = send
        self._others = min(others, MOST_OTHERS)
        self._complete = False
        self._clock = asyncio.get_running_loop().time
        self._waiting: deque[NDArray[np.int16]] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._sent = 0
        self._began: float | None = None
        self._reported: float | None = None

    def add(self, audio: Audio) -> float:
        """Queue speech; returns its duration in seconds."""
        samples, size = audio.resampled(RATE).pcm16(), round(SLICE * RATE)
        self._waiting.extend(samples[at : at + size] for at in range(0, len(samples), size))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._drain())
        return len(samples) / RATE

    async def drained(self) -> None:
        """Wait until everything that was added is sent; nothing more is to come."""
        self._complete = True
        if self._sender is not None:
            await self._sender

    def report(self, seconds: float) -> None:
        """The client has played so much."""
        self._reported = max(seconds, self._reported or 0.0)

    def stop(self) -> None:
        """Send nothing more."""
        self._waiting.clear()

    @property
    def sent(self) -> float:
        """Seconds of speech that were sent."""
        return self._sent / RATE

    @property
    def played(self) -> float:
        """Seconds of speech that have been played, as far as is known."""
        if self._reported is not None:
            return min(self._reported, self.sent)
        if self._began is None:
            return 0.0
        return min(self._clock() - self._began, self.sent)

    @property
    def dry(self) -> bool:
        """Whether there is nothing to play in the middle of a reply."""
        return not self._waiting and 0 < self.sent <= self.played

    async def _drain(self) -> None:
        until = self._clock() + self._others * PATIENCE
        plenty = self._others * PLENTY * RATE
        while self._waiting and self._began is None and self._clock() < until:
            if self._complete or sum(map(len, self._waiting)) >= plenty:
                break
            await asyncio.sleep(SLICE)
        while self._waiting:
            too_far = self.sent - self.played - (AHEAD - SLICE)
            if too_far > 0:
                await asyncio.sleep(min(SLICE, too_far))
                continue
            if self._began is None:
                self._began = self._clock()
            samples = self._waiting.popleft()
            self._sent += len(samples)
            self._send(samples)
