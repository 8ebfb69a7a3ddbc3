"""What is done while a person still speaks: words shown, the engine made ready."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from engines.base import Cancel
from engines.messages import Conversation, Transcript, Turn
from errors import CancelledError, ParleyError
from live.config import Config
from services import Services
from speech.pcm import Audio
from streaming import stream

#: New speech from which on it is worth hearing everything again, seconds.
STEP = 0.4
#: Hearing takes longer the longer somebody speaks; it may take this share of the time.
SHARE = 0.25


class Anticipation:
    """Hears along with one session, never twice at the same time.

    Args:
        services: Engines and limits.
        tell: Told the words so far.
    """

    def __init__(self, services: Services, tell: Callable[[str], None]) -> None:
        self._services = services
        self._tell = tell
        self._cancel: Cancel | None = None
        self._learning = Cancel()
        self._heard = 0.0
        self._next = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def is_due(self, seconds: float) -> bool:
        """Whether there is something new to hear in an utterance of that length."""
        clock = asyncio.get_running_loop().time
        return self._cancel is None and seconds - self._heard >= STEP and clock() >= self._next

    def hear(self, utterance: Audio | None, conversation: Conversation, config: Config) -> None:
        """Get ready for what may come after what was said so far."""
        self.stop()
        self._heard = utterance.seconds if utterance else 0.0
        self._cancel = Cancel()
        task = asyncio.create_task(self._run(utterance, conversation, config, self._cancel))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """The answer itself begins, or nobody speaks any more."""
        if self._cancel is not None:
            self._cancel.set()
        self._cancel = None
        self._heard = self._next = 0.0

    async def learn(self, config: Config) -> None:
        """Find out now what the first reply in a chosen voice would wait for."""
        self._learning.set()
        self._learning = cancel = Cancel()
        assert config.voice is not None
        # What is wrong with it is told when it is to be spoken with.
        with suppress(ParleyError):
            await asyncio.to_thread(
                self._services.learn, config.voice, engine=config.info.name, cancel=cancel
            )

    async def close(self) -> None:
        """Stop whatever runs."""
        self.stop()
        self._learning.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(
        self, utterance: Audio | None, conversation: Conversation, config: Config, cancel: Cancel
    ) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        events = self._services.prepare(
            Turn(utterance),
            conversation,
            engine=config.info.name,
            language=config.language,
            spoken=config.speaks,
            wishes=config.wishes,
            cancel=cancel,
        )
        try:
            async for event in stream(events, cancel):
                if isinstance(event, Transcript) and event.text and self._cancel is cancel:
                    self._tell(event.text)
        except CancelledError:
            return
        except ParleyError:
            # The answer will fail in the same way, and then it is told.
            self._next = clock() + 1 / SHARE
        finally:
            if self._cancel is cancel:
                self._cancel = None
                self._next = max(self._next, clock() + (clock() - began) * (1 / SHARE - 1))
