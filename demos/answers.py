"""What happens when something is asked in the chat tab."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from demos.clips import Player
from demos.follow import follow
from demos.header import waiting_for
from demos.panel import Options
from demos.running import Running
from demos.thread import Ask, Reply, Thread
from engines.base import AudioChunk, Cancel, Event, Task, Turn
from errors import CancelledError, ParleyError
from services import Services

logger = logging.getLogger(__name__)

#: Ends the stream of a reply: the browser's decoder plays a piece when the next is there.
CLOSING_SILENCE = 0.25


class Answers:
    """Answers what is asked; holds no session but the flag that stops it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._player = Player()
        self.running = Running()

    def answer(
        self, task: Task, ask: Ask, thread: Thread, options: Options, session: str | None
    ) -> Iterator[tuple[list[dict[str, Any]], tuple[int, Any] | None, Thread]]:
        """Views of the reply as it grows: messages, new sound, the thread."""
        cancel = self.running.begin(session)
        thread = thread.asking(ask)
        conversation = replace(
            thread.conversation, system=options.system, limit=int(options.history)
        )
        thread = replace(thread, conversation=conversation)
        reply = Reply(thread, self._player, is_transcript=task == "asr")
        ahead = 0

        def on_wait(count: int) -> None:
            nonlocal ahead
            ahead = count

        notice, rate = "", None
        yield reply.messages(waiting_for(self._services, ahead)), None, thread
        try:
            events = self._request(task, ask, thread, options, cancel, on_wait)
            for batch in follow(events, cancel):
                for event in batch:
                    reply.take(event)
                sound = _sound(batch)
                rate = sound[0] if sound else rate
                yield reply.messages(waiting_for(self._services, ahead)), sound, thread
        except CancelledError:
            notice = "Stopped."
        except ParleyError as error:
            notice = str(error)
        except Exception:
            logger.exception("a request failed")
            notice = "This went wrong inside Parley. It is noted in the log; please try again."
        finally:
            cancel.set()
            thread = reply.end(notice)
        tail = (rate, np.zeros(int(rate * CLOSING_SILENCE), np.int16)) if rate else None
        yield list(thread.messages), tail, thread

    def _request(
        self,
        task: Task,
        ask: Ask,
        thread: Thread,
        options: Options,
        cancel: Cancel,
        on_wait: Callable[[int], None],
    ) -> Iterator[Event]:
        services, language = self._services, options.language or None
        if task == "tts":
            yield from services.speak(
                ask.text,
                options.voice,
                engine=options.engine,
                seed=options.sampling.seed,
                cancel=cancel,
                on_wait=on_wait,
            )
            return
        audio = services.clip(ask.clip).audio if ask.clip or task == "asr" else None
        if task == "asr":
            assert audio is not None
            yield from services.transcribe(
                audio, engine=options.engine, language=language, cancel=cancel, on_wait=on_wait
            )
            return
        yield from services.converse(
            Turn(audio, ask.text),
            thread.conversation,
            options.voice,
            engine=options.engine,
            sampling=options.sampling,
            language=language,
            spoken=task == "sqa",
            cancel=cancel,
            on_wait=on_wait,
        )


def _sound(batch: list[Event]) -> tuple[int, Any] | None:
    """The speech of a batch as int16, which Gradio passes on without touching its level."""
    chunks = [event.audio for event in batch if isinstance(event, AudioChunk)]
    if not chunks:
        return None
    return chunks[0].rate, np.concatenate([chunk.pcm16() for chunk in chunks])

