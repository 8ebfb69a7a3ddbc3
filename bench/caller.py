"""A caller for tests and benchmarks: the official `openai` client, talking in real time."""

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from speech.pcm import Audio

RATE = 24_000
FRAME = RATE // 50


class Caller:
    """A connection whose events are kept, and whose microphone is always open."""

    def __init__(self, connection: AsyncRealtimeConnection) -> None:
        self.connection = connection
        self.events: list[Any] = []
        self.sound: list[NDArray[np.int16]] = []
        self._news = asyncio.Event()
        self._line: asyncio.Queue[NDArray[np.int16]] = asyncio.Queue()
        # When the first and the last frame of what was said were sent, by the clock.
        self.spoke_from = self.spoke_until = 0.0
        self._speaks = False
        self._said = asyncio.Event()

    async def listen(self) -> None:
        """Keep what comes."""
        event: Any  # One of some fifty types, and the time is noted on it.
        async for event in self.connection:
            event.received = time.perf_counter()
            self.events.append(event)
            if event.type == "response.output_audio.delta":
                self.sound.append(np.frombuffer(base64.b64decode(event.delta), "<i2"))
            self._news.set()

    async def talk(self) -> None:
        """Send a frame every 20 ms: what was said, else silence."""
        due = time.perf_counter()
        silence = np.zeros(FRAME, np.int16)
        while True:
            speech = silence if self._line.empty() else self._line.get_nowait()
            if speech is not silence and not self._speaks:
                self.spoke_from = time.perf_counter()
            self._speaks = speech is not silence
            await self.connection.input_audio_buffer.append(
                audio=base64.b64encode(speech.tobytes()).decode()
            )
            if speech is not silence:
                self.spoke_until = time.perf_counter()
                if self._line.empty():
                    self._said.set()
            due += FRAME / RATE
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

    def say(self, audio: Audio) -> None:
        """Queue speech, without the silence around it."""
        samples = audio.resampled(RATE).pcm16()
        loud = np.flatnonzero(np.abs(samples) > 0.02 * 32767)
        samples = samples[loud[0] : loud[-1] + 1]
        samples = np.concatenate([samples, np.zeros(-len(samples) % FRAME, np.int16)])
        for frame in samples.reshape(-1, FRAME):
            self._line.put_nowait(frame)
        self._said.clear()

    async def said(self) -> float:
        """Wait until what was queued is sent; returns when the last of it was, by the clock."""
        await self._said.wait()
        return self.spoke_until

    def of(self, kind: str) -> list[Any]:
        """The events of a kind so far."""
        return [event for event in self.events if event.type == kind]

    async def wait(self, kind: str, count: int = 1, seconds: float = 30.0) -> Any:
        """The `count`-th event of a kind, once it is there."""

        async def there() -> None:
            while len(self.of(kind)) < count:
                self._news.clear()
                await self._news.wait()

        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(there(), seconds)
        found, kinds = self.of(kind), [event.type for event in self.events]
        assert len(found) >= count, f"no {kind} ({count}) in {seconds} s after {kinds[-12:]}"
        return found[count - 1]

    async def send(self, **event: Any) -> None:
        """Send an event as it stands."""
        await self.connection.send(cast(Any, event))

    async def write(self, text: str) -> None:
        """Ask in writing."""
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content}
        await self.send(type="conversation.item.create", item=item)
        await self.send(type="response.create")

    async def refused(self, **event: Any) -> Any:
        """Send what is wrong; returns the error."""
        before = len(self.of("error"))
        await self.send(**event)
        return (await self.wait("error", before + 1)).error


@asynccontextmanager
async def call(
    url: str, *, talking: bool = True, key: str = "none", model: str = "default"
) -> AsyncIterator[Caller]:
    """A caller who has been greeted.

    Args:
        url: Of the server, with a slash at its end.
        talking: The microphone is open.
        key: API key.
        model: Named at the door.
    """
    client = AsyncOpenAI(base_url=f"{url}v1", api_key=key)
    async with client.realtime.connect(model=model) as connection:
        caller = Caller(connection)
        tasks = [asyncio.create_task(caller.listen())]
        if talking:
            tasks.append(asyncio.create_task(caller.talk()))
        try:
            await caller.wait("session.created")
            yield caller
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
