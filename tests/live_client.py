"""A caller for the tests: the official `openai` client, talking in real time."""

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
from openai import AsyncOpenAI

from speech.pcm import Audio

RATE = 24_000
FRAME = RATE // 50


class Caller:
    """A connection whose events are kept, and whose microphone is always open."""

    def __init__(self, connection):
        self.connection = connection
        self.events = []
        self.sound = []
        self._news = asyncio.Event()
        self._line: asyncio.Queue = asyncio.Queue()
        self.spoke_until = 0.0

    async def listen(self):
        async for event in self.connection:
            event.received = time.perf_counter()
            self.events.append(event)
            if event.type == "response.output_audio.delta":
                self.sound.append(np.frombuffer(base64.b64decode(event.delta), "<i2"))
            self._news.set()

    async def talk(self):
        """Send a frame every 20 ms: what was said, else silence."""
        due = time.perf_counter()
        silence = np.zeros(FRAME, np.int16)
        while True:
            speech = silence if self._line.empty() else self._line.get_nowait()
            await self.connection.input_audio_buffer.append(
                audio=base64.b64encode(speech.tobytes()).decode()
            )
            if speech is not silence:
                self.spoke_until = time.perf_counter()
            due += FRAME / RATE
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

    def say(self, audio: Audio):
        """Queue speech, without the silence around it."""
        samples = audio.resampled(RATE).pcm16()
        loud = np.flatnonzero(np.abs(samples) > 0.02 * 32767)
        samples = samples[loud[0] : loud[-1] + 1]
        samples = np.concatenate([samples, np.zeros(-len(samples) % FRAME, np.int16)])
        for frame in samples.reshape(-1, FRAME):
            self._line.put_nowait(frame)

    async def said(self):
        """Wait until all of what was queued is sent."""
        while not self._line.empty():
            await asyncio.sleep(FRAME / RATE)

    def of(self, kind):
        return [event for event in self.events if event.type == kind]

    async def wait(self, kind, count=1, seconds=30.0):
        """The `count`-th event of a kind, once it is there."""

        async def there():
            while len(self.of(kind)) < count:
                self._news.clear()
                await self._news.wait()

        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(there(), seconds)
        found, kinds = self.of(kind), [event.type for event in self.events]
        assert len(found) >= count, f"no {kind} ({count}) in {seconds} s after {kinds[-12:]}"
        return found[count - 1]

    async def send(self, **event):
        await self.connection.send(event)

    async def refused(self, **event):
        """Send what is wrong; returns the error."""
        before = len(self.of("error"))
        await self.send(**event)
        return (await self.wait("error", before + 1)).error


@asynccontextmanager
async def call(url, *, talking=True, key="none") -> AsyncIterator[Caller]:
    client = AsyncOpenAI(base_url=f"{url}v1", api_key=key)
    async with client.realtime.connect(model="default") as connection:
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
