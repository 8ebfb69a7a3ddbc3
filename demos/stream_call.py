"""A live conversation over Gradio's own events, and what the page shows of it."""

import asyncio
import logging
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from demos.stream_dialogue import Dialogue, Message
from errors import ParleyError, UnavailableError
from live.local_client import LocalClient, Sound
from live.protocol import RATE, Emit, new_id
from live.session import Session
from speech.pcm import Audio

logger = logging.getLogger(__name__)

#: Gives a seat and a session to a client within this process.
Guest = Callable[[Emit], AbstractAsyncContextManager[Session]]

SKIP = gr.skip()
#: A microphone sends all the time; after so long without, seconds, its page is gone.
QUIET = 20.0
#: Sound that comes in later than this, seconds, is too late to talk.
LATE = 8.0
#: How often that is looked at, seconds.
LOOK = 1.0
#: The page is drawn at most so often, seconds.
PAUSE = 0.1
#: The first piece of a stream is short, seconds: it wakes up the encoder and the player,
#: which find the rest when they are ready.
OPENING = 0.1
#: The encoder may hand out a piece only when the next one comes: so some sound is kept back,
#: seconds, and given bit by bit while there is no more.
RESERVE, BIT = 0.1, 0.02
#: Ends the stream of a reply, seconds: the browser's decoder plays a piece when the next is there.
CLOSING_SILENCE = 0.25


@dataclass(frozen=True, slots=True)
class View:
    """What the page shows from now on.

    Attributes:
        player: Sound to append to the stream, or what silences the player.
        messages: The dialogue.
        status: The state and what else there is to say, HTML.
        wire: For the page's script: whose microphone this is, which reply the player has
            and whether the conversation is over.
        is_last: The stream of a reply is complete; another one needs a new event.
    """

    player: Any
    messages: list[Message]
    status: str
    wire: dict[str, Any]
    is_last: bool = False


class Call:
    """One conversation.

    Attributes:
        id: Of the conversation.
        client: Its end of the session.

    Args:
        guest: See `Guest`.
    """

    def __init__(self, guest: Guest) -> None:
        self.id = new_id("call")
        self.client = LocalClient(self._take)
        self._dialogue = Dialogue()
        self._state = "connecting"
        self._notice = ""
        self._delay = ""
        self._playing = ""
        self._news = asyncio.Event()
        self._heard_at = self._now
        self._length = 0
        # When the first piece came, and how much sound has come since, seconds.
        self._since = 0.0
        self._heard = 0.0
        self._task = asyncio.create_task(self._hold(guest))
        self._task.add_done_callback(lambda _: self._news.set())

    @property
    def is_over(self) -> bool:
        """Whether its seat is free again."""
        return self._task.done()

    async def hang_up(self) -> None:
        """End it."""
        self._task.cancel()
        await asyncio.wait({self._task})

    def hear(self, number: int, piece: Audio | None) -> None:
        """Take a piece of the microphone.

        Args:
            number: Its place, counted from 1.
            piece: None if it was lost, which is taken for silence.
        """
        self._heard_at = self._now
        if piece is None:
            piece = Audio(np.zeros(self._length, np.float32), RATE)
        self._length = round(piece.seconds * RATE)
        self._since = self._since or self._now
        self._heard += piece.seconds
        self.client.hear(number, piece)

    def played(self, item: str, seconds: float, *, ended: bool) -> None:
        """Take how far the player is; see `LocalClient.played`."""
        self.client.played(item, seconds, ended=ended)
        self._news.set()

    async def views(self) -> AsyncIterator[View]:
        """What the page shall show, up to the last sound of a reply, or the end of it all."""
        stream: _Stream | None = None
        while not self.is_over:
            if not (stream and stream.keeps_back):
                await self._news.wait()
            self._news.clear()
            sound = self.client.sound
            if self._playing and (sound is None or sound.item != self._playing):
                self._playing = ""
                yield self._view(_silence(), is_last=stream is not None)
                if stream:
                    return
            if sound and not self._playing:
                self._playing = sound.item
                stream = _Stream(sound)
            yield self._view()
            for piece in stream.pieces() if stream else ():
                yield self._view(_wav(piece))
            if stream and stream.is_over:
                yield self._view(is_last=True)
                return
            await asyncio.sleep(PAUSE)
        yield self._view(_silence())

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _hold(self, guest: Guest) -> None:
        try:
            async with guest(self.client.take) as session:
                self.client.session = session
                await self._until_broken()
        except ParleyError as error:
            self._notice = str(error)
        except Exception:
            logger.exception("a conversation without WebSocket failed")
            self._notice = "This went wrong inside Parley. It is noted in the log."
        finally:
            self.client.session = self.client.sound = None
            self._state = "ready"

    async def _until_broken(self) -> None:
        while self._now - self._heard_at < QUIET:
            if self._since and self._now - self._since - self._heard > LATE:
                raise UnavailableError(
                    f"Your words arrive more than {LATE:.0f} seconds late: this network is too "
                    "slow to talk. The Chat tab takes recordings."
                )
            await asyncio.sleep(LOOK)
        raise UnavailableError(
            f"Nothing came from your microphone for {QUIET:.0f} seconds. Press Record to go on."
        )

    def _take(self, event: Message) -> None:
        self._dialogue.take(event)
        match event:
            case {"type": "parley.state", "state": state}:
                self._state = state
            case {"type": "parley.queue", "message": message}:
                self._state, self._notice = "waiting", message
            case {"type": "session.created" | "response.created"}:
                self._notice = ""
            case {"type": "parley.timings", "marks": {"first_played": late}}:
                self._delay = f"{late / 1000:.1f} s from your last word to the reply"
            # A reply that ends by itself just before it is stopped is no news.
            case {"type": "error", "error": {"code": code, "message": message}}:
                if code != "response_cancel_not_active":
                    self._notice = message
        self._news.set()

    def _view(self, player: Any = SKIP, *, is_last: bool = False) -> View:
        status = (
            f'<p class="fallback-state" role="status">{escape(self._state)}</p>'
            f'<p class="fallback-delay">{escape(self._delay)}</p>'
            f'<p class="fallback-notice" role="alert">{escape(self._notice)}</p>'
        )
        wire = {"call": self.id, "reply": self._playing, "over": self.is_over}
        return View(player, self._dialogue.messages(), status, wire, is_last)


def _silence() -> Any:
    """Silences the player, which would go on with the next reply at the place where it was."""
    return gr.update(value=None, playback_position=0)


class _Stream:
    """The sound of a reply, cut as Gradio's streams need it.

    Args:
        sound: Nobody else takes from it.
    """

    def __init__(self, sound: Sound) -> None:
        self.is_over = False
        self._sound = sound
        self._kept = np.zeros(0, np.int16)
        self._is_open = False

    @property
    def keeps_back(self) -> bool:
        """Whether there is more to give though nothing more was received."""
        return len(self._kept) > 0

    def pieces(self) -> Iterator[NDArray[np.int16]]:
        """What to give now, int16 `[n]` each at the rate of the protocol."""
        self._kept = np.concatenate([self._kept, self._sound.take()])
        if not self._is_open:
            self._is_open = True
            yield self._cut(OPENING)
        if self._sound.complete and not self.is_over:
            self.is_over = True
            yield np.concatenate([self._kept, np.zeros(_samples(CLOSING_SILENCE), np.int16)])
        elif len(self._kept) > _samples(RESERVE):
            yield self._cut(len(self._kept) / RATE - RESERVE)
        elif len(self._kept):
            yield self._cut(BIT)

    def _cut(self, seconds: float) -> NDArray[np.int16]:
        at = _samples(seconds)
        piece, self._kept = self._kept[:at], self._kept[at:]
        return piece


def _samples(seconds: float) -> int:
    return round(seconds * RATE)


def _wav(samples: NDArray[np.int16]) -> bytes:
    """A WAV file, which Gradio passes on without touching the level or the disk."""
    with BytesIO() as file:
        with wave.open(file, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(RATE)
            out.writeframes(samples.tobytes())
        return file.getvalue()
