"""A whole conversation behind `/v1/realtime` of another server: Parley, or a hosted service.

Each reply is a connection of its own, which is told the dialogue so far: so nothing of a
session lies here, and any of several servers can answer the next turn. What was said by
voice earlier is told in words.
"""

import asyncio
import base64
from collections.abc import AsyncGenerator, Callable, Iterator
from copy import copy
from typing import Any

import numpy as np

from engines.base import Cancel, EngineInfo, Models, Reference, Stopwatch, Task, Wishes
from engines.checks import check_turn, chosen_voice
from engines.images import Image
from engines.messages import (
    AudioChunk,
    Conversation,
    Event,
    Finished,
    Message,
    Notice,
    Sampling,
    TextDelta,
    Transcript,
    Turn,
    Usage,
)
from engines.remote.address import shown
from engines.remote.config import DEFAULT_VOICE, PCM_RATE
from errors import EngineError, InputError
from speech.pcm import Audio

#: Seconds of sound in one event: servers take some hundred kilobytes at a time.
STEP = 4.0
#: Until a line is open, seconds: behind a page that has much to do.
OPEN = 10.0


class Realtime:
    """A `SpeechEngine`, `Adaptable` to a session's key and model.

    Args:
        info: What it is and can do.
        line: Name under which the `Servers` are borrowed.
        model: The model's name there.
        models: Lends the servers.
    """

    def __init__(self, info: EngineInfo, line: str, model: str, models: Models) -> None:
        self._info = info
        self._line = line
        self._model = model
        self._models = models
        self._wishes = Wishes()

    @property
    def info(self) -> EngineInfo:
        """What the engine is and can do."""
        return self._info

    def adapted(self, wishes: Wishes) -> "Realtime":
        """The engine as a session wishes it; see `Adaptable`."""
        adapted = copy(self)
        adapted._wishes = wishes
        return adapted

    def choices(self, wishes: Wishes, cancel: Cancel) -> tuple[str, ...]:
        """Nobody lists models for realtime apart; see `Adaptable`."""
        return ()

    def models(self, task: Task, language: str | None = None) -> tuple[str, ...]:
        """Names of the models that a request borrows."""
        return (self._line,)

    def transcribe(
        self, audio: Audio, *, language: str | None = None, cancel: Cancel
    ) -> Iterator[Event]:
        """Refused: a conversation is all that it offers."""
        raise InputError(f"{self._info.title} only converses. Choose another engine or task.")

    def speak(
        self,
        text: str,
        voice: str | Reference | None = None,
        *,
        seed: int | None = None,
        cancel: Cancel,
    ) -> Iterator[Event]:
        """Refused: a conversation is all that it offers."""
        raise InputError(f"{self._info.title} only converses. Choose another engine or task.")

    def converse(
        self,
        turn: Turn,
        conversation: Conversation,
        voice: str | Reference | None = None,
        *,
        sampling: Sampling = Sampling(),
        language: str | None = None,
        spoken: bool = True,
        cancel: Cancel,
    ) -> Iterator[Event]:
        """Answer a turn; see `SpeechEngine`. Temperature and seed are the server's."""
        from engines.remote.servers import Errand, in_words  # noqa: PLC0415

        # It takes no references, so it is a name.
        name = str(chosen_voice(self._info, voice))
        check_turn(self._info, turn)
        session = _session(conversation, name, sampling, language, spoken)
        request = self._request(session, turn, conversation)
        told = list[str]()
        with self._models.use(self._line, cancel=cancel) as (servers,), in_words():
            watch, reply = Stopwatch(), _Reply()
            errand = Errand(cancel, self._wishes.key, told.append)
            for given in servers.stream(request, errand):
                while told:
                    yield Notice(told.pop(0))
                yield from reply.read(given, watch)
            yield Finished(watch.timings(reply.seconds), reply.usage)

    def _request(
        self, session: dict[str, Any], turn: Turn, conversation: Conversation
    ) -> Callable[[Any], AsyncGenerator[Any]]:
        from engines.remote.problems import RemoteError  # noqa: PLC0415

        async def events(client: Any) -> AsyncGenerator[Any]:
            where, timeout = shown(str(client.base_url)), client.timeout.read
            dialled = client.realtime.connect(
                model=self._wishes.model or self._model,
                websocket_connection_options={"open_timeout": min(OPEN, timeout)},
            )
            async with dialled as line:
                await line.session.update(session=session)
                for message in conversation.visible():
                    await line.conversation.item.create(item=_item(message))
                if turn.text.strip() or turn.seen:
                    said = Message("user", turn.text.strip(), turn.images, turn.frames)
                    await line.conversation.item.create(item=_item(said))
                if turn.audio is not None:
                    for piece in _pieces(turn.audio):
                        await line.input_audio_buffer.append(audio=piece)
                    await line.input_audio_buffer.commit()
                await line.response.create()
                begun = False
                while True:
                    async with asyncio.timeout(timeout):
                        event = await line.recv()
                    # What only confirms is no part of the answer: the next server may be asked.
                    if not begun and (why := _failed(event)) is not None:
                        told = EngineError(f"The server at {where} says: {why}")
                        raise RemoteError(told, elsewhere=True)
                    if _reads(event.type):
                        begun = True
                        yield event
                    if event.type in {"response.done", "error"}:
                        return

        return events


class _Reply:
    """Follows the server's events of one reply."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.usage = Usage()

    def read(self, event: Any, watch: Stopwatch) -> Iterator[Event]:
        match event.type:
            case "conversation.item.input_audio_transcription.completed":
                watch.mark("recognized")
                yield Transcript(event.transcript, True)
            case "conversation.item.input_audio_transcription.failed":
                raise InputError(str(event.error.message or "There is no speech in this."))
            case "response.output_text.delta" | "response.output_audio_transcript.delta":
                watch.mark("first_token")
                yield TextDelta(event.delta)
            case "response.output_audio.delta":
                watch.mark("first_audio")
                samples = np.frombuffer(base64.b64decode(event.delta), "<i2").astype(np.int16)
                audio = Audio.from_pcm16(samples, PCM_RATE)
                self.seconds += audio.seconds
                yield AudioChunk(audio)
            case "error":
                raise EngineError(f"The other server says: {event.error.message}")
            case "response.done":
                self._end(event.response)

    def _end(self, response: Any) -> None:
        if response.status != "completed":
            error = getattr(response.status_details, "error", None)
            why = getattr(error, "message", None) or getattr(response.status_details, "reason", "")
            raise EngineError(f"The other server ended its answer early: {why or response.status}.")
        if response.usage is not None:
            self.usage = Usage(
                response.usage.input_tokens or 0, 0, response.usage.output_tokens or 0
            )


def _failed(event: Any) -> str | None:
    """What a server says that cannot answer, though another one may; None if it says no such."""
    if event.type == "error":
        error, busy = event.error, event.error.code == "rate_limit_exceeded"
        return str(error.message) if busy or error.type == "server_error" else None
    if event.type == "response.done" and event.response.status == "failed":
        error = getattr(event.response.status_details, "error", None)
        return str(getattr(error, "message", None) or "it failed.")
    return None


def _reads(kind: str) -> bool:
    return kind == "error" or kind.startswith(
        ("conversation.item.input_audio_transcription.", "response.output_", "response.done")
    )


def _session(
    conversation: Conversation, voice: str, sampling: Sampling, language: str | None, spoken: bool
) -> dict[str, Any]:
    hearing = {
        "turn_detection": None,  # What comes is one whole turn.
        "transcription": {"model": "whisper-1", **({"language": language} if language else {})},
        "format": {"type": "audio/pcm", "rate": PCM_RATE},
    }
    return {
        "type": "realtime",
        "output_modalities": ["audio" if spoken else "text"],
        "max_output_tokens": sampling.max_tokens,
        "audio": {
            "input": hearing,
            # The server's own choice has no name that all servers know.
            **({"output": {"voice": voice}} if voice != DEFAULT_VOICE else {}),
        },
        **({"instructions": conversation.system} if conversation.system.strip() else {}),
    }


def _item(message: Message) -> dict[str, Any]:
    if message.role == "assistant":
        content = [{"type": "output_text", "text": message.text}]
    else:
        content = [{"type": "input_image", "image_url": _url(image)} for image in message.seen]
        content += [{"type": "input_text", "text": message.text}] if message.text else []
    return {"type": "message", "role": message.role, "content": content}


def _url(image: Image) -> str:
    return f"data:image/{image.kind};base64,{base64.b64encode(image.data).decode()}"


def _pieces(audio: Audio) -> Iterator[str]:
    samples = audio.resampled(PCM_RATE).pcm16()
    step = round(STEP * PCM_RATE)
    for at in range(0, len(samples), step):
        yield base64.b64encode(samples[at : at + step].tobytes()).decode()
