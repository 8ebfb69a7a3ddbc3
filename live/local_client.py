"""A client of a session within this process, for pages that no WebSocket reaches."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from live.protocol import RATE, read_audio, write_audio
from live.reply import SLICE
from live.session import Session
from speech.pcm import Audio

#: A reply is asked for so far ahead of what was heard of it, seconds. Players of streams
#: look for more about once a second, and fall silent if there is none.
LEAD = 2.0
#: What the microphone hears at the start of a reply is dropped, seconds: the browser has
#: not learnt to cancel its echo yet.
GRACE = 0.4
#: In half duplex the room goes on sounding for so long after a reply, seconds.
REVERBERATION = 0.25
#: A piece of the microphone that is missing is given up when so many later ones are there.
MOST_EARLY = 5


class Microphone:
    """Puts pieces of a microphone in order and brings them to the rate of the protocol."""

    def __init__(self) -> None:
        self._next = 1
        self._early: dict[int, Audio] = {}
        self._rate = RATE
        self._resampler: soxr.ResampleStream | None = None

    def push(self, number: int, piece: Audio) -> NDArray[np.float32]:
        """Take a piece; returns what follows on what was returned before.

        Args:
            number: Its place, counted from 1.
            piece: Any length, at any rate.

        Returns:
            float32 `[n]` at the rate of the protocol; empty while an earlier piece is missing.
        """
        if number >= self._next:
            self._early[number] = piece
        if len(self._early) > MOST_EARLY:
            self._next = min(self._early)
        ready = [np.zeros(0, np.float32)]
        while (following := self._early.pop(self._next, None)) is not None:
            ready.append(self._resampled(following))
            self._next += 1
        return np.concatenate(ready)

    def _resampled(self, piece: Audio) -> NDArray[np.float32]:
        if piece.rate != self._rate:
            self._rate = piece.rate
            self._resampler = None
        if piece.rate == RATE:
            return piece.samples
        if self._resampler is None:
            self._resampler = soxr.ResampleStream(piece.rate, RATE, 1, dtype="float32")
        resampled: NDArray[np.float32] = self._resampler.resample_chunk(piece.samples)
        return resampled


@dataclass(eq=False, slots=True)
class Sound:
    """The sound of one reply.

    Attributes:
        item: The reply's item.
        response: Its id.
        began: When the first of it was received, by the clock of the event loop.
        received: How much of it was received, seconds.
        heard: How much of it was heard, seconds.
        complete: All of it was received.
        waiting: What was received and not taken yet, int16 `[n]` at the rate of the protocol.
    """

    item: str
    response: str
    began: float
    received: float = 0.0
    heard: float = 0.0
    complete: bool = False
    waiting: list[NDArray[np.int16]] = field(default_factory=list)

    def take(self) -> NDArray[np.int16]:
        """What was received since the last call."""
        taken = np.concatenate([np.zeros(0, np.int16), *self.waiting])
        self.waiting.clear()
        return taken


class LocalClient:
    """Feeds a session from a microphone, and keeps the sound of its replies for a player.

    Everything happens on the event loop of the session.

    Attributes:
        session: None before there is one and when it is over; what is said then is lost.
        sound: The reply that is heard, or will be; None if there is none.
        half_duplex: The microphone is not heard while a reply is.

    Args:
        tell: Called with each event of the session, after the client has acted on it.
    """

    def __init__(self, tell: Callable[[dict[str, Any]], None]) -> None:
        self.session: Session | None = None
        self.sound: Sound | None = None
        self.half_duplex = False
        self._tell = tell
        self._microphone = Microphone()
        self._quiet_from = 0.0

    def take(self, event: dict[str, Any]) -> None:
        """Act on an event of the session."""
        match event["type"]:
            case "input_audio_buffer.speech_started":
                self.silence()
            case "response.output_audio.delta":
                self._receive(event)
            case "response.output_audio.done":
                if self.sound is not None and self.sound.item == event["item_id"]:
                    self.sound.complete = True
            case "response.done":
                if event["response"]["status"] != "completed":
                    self.silence()
        self._tell(event)

    def hear(self, number: int, piece: Audio) -> None:
        """Take what the microphone heard; see `Microphone.push`."""
        samples = self._microphone.push(number, piece)
        if len(samples):
            pcm = Audio(np.zeros_like(samples) if self._is_deaf else samples, RATE).pcm16()
            self._send("input_audio_buffer.append", audio=write_audio(pcm))

    def played(self, item: str, seconds: float, *, ended: bool = False) -> None:
        """Take how far the player is.

        Args:
            item: The reply that it plays.
            seconds: How much of it was played.
            ended: There is no more of it.
        """
        sound = self.sound
        if sound is None or sound.item != item:
            return
        if ended and sound.complete:
            seconds = sound.received
        if seconds > 0 and not sound.heard:
            latency = max(0.0, self._now - sound.began - seconds)
            self._send("parley.played", response_id=sound.response, latency_ms=latency * 1000)
        sound.heard = max(sound.heard, min(seconds, sound.received))
        self._report(sound)
        if sound.complete and sound.heard == sound.received:
            self._end()

    def stop(self) -> None:
        """Stop the reply, whether it is heard already or not."""
        self._send("response.cancel")
        self.silence()

    def silence(self) -> None:
        """Nothing more of the reply is to be heard; what was not is forgotten."""
        if self.sound is not None:
            # The session is told when it has done what it is at.
            asyncio.get_running_loop().call_soon(self._truncate, self.sound)
            self._end()

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    @property
    def _is_deaf(self) -> bool:
        if self.half_duplex:
            return self.sound is not None or self._now < self._quiet_from
        return self.sound is not None and 0 < self.sound.heard < GRACE

    def _receive(self, event: dict[str, Any]) -> None:
        if self.sound is None or self.sound.item != event["item_id"]:
            self.sound = Sound(event["item_id"], event["response_id"], self._now)
        samples = read_audio(event["delta"])
        self.sound.waiting.append(samples)
        self.sound.received += len(samples) / RATE
        self._report(self.sound)

    def _report(self, sound: Sound) -> None:
        """Tell the session what was heard; more than that where it is to send more.

        The session sends little further than what was heard. Of the last slice it is
        told the truth, so it knows when the reply is over.
        """
        heard = sound.heard
        if not sound.complete and sound.received - heard < LEAD:
            heard = max(heard, sound.received - SLICE)
        self._send("parley.playhead", item_id=sound.item, audio_ms=heard * 1000)

    def _truncate(self, sound: Sound) -> None:
        place = {"item_id": sound.item, "content_index": 0}
        heard = int(sound.heard * 1000)
        self._send("conversation.item.truncate", **place, audio_end_ms=heard)
        self._send("conversation.item.retrieve", item_id=sound.item)

    def _end(self) -> None:
        self.sound = None
        self._quiet_from = self._now + REVERBERATION

    def _send(self, kind: str, **fields: Any) -> None:
        if self.session is not None:
            self.session.take(json.dumps({"type": kind, **fields}))
