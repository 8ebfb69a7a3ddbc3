"""What happens when something is asked in the chat tab."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypedDict

import gradio as gr

from demos.clips import Piece, Player, closing_piece, piece
from demos.follow import follow
from demos.header import waiting_for
from demos.panel import Options
from demos.problems import told
from demos.running import Running
from demos.thread import Ask, Reply, Thread
from engines.base import Cancel, Task, Wishes
from engines.messages import AudioChunk, Conversation, Event, Span, Turn
from errors import CancelledError
from services import OnWait, Services
from speech.pcm import Audio


@dataclass(frozen=True, slots=True)
class View:
    """What the page shows from now on.

    Attributes:
        messages: The whole dialogue; None leaves the one on the screen.
        thread: What the session keeps; None keeps what it has.
        sound: Speech to append to the stream, as rate and int16 samples.
        timed: A player of the user's clip with subtitles.
    """

    messages: list[dict[str, Any]] | None
    thread: Thread | None
    sound: Piece | None = None
    timed: gr.Audio | None = None


class Answers:
    """Answers what is asked; holds no session but the flag that stops it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._player = Player()
        self.running = Running()

    def answer(
        self, task: Task, ask: Ask, thread: Thread, options: Options, session: str | None
    ) -> Iterator[View]:
        """Views of the reply as it grows."""
        run = self.running.begin(session)
        cancel = run.cancel
        thread = thread.asking(ask, system=options.system, limit=int(options.history))
        reply = Reply(thread, self._player, is_transcript=task == "asr")
        waiting = _Waiting(self._services)
        notice, rate, clip = "", None, None
        yield View(reply.messages(waiting.text()), None)
        try:
            info = self._services.engine(options.engine).info
            reply.mark(self._services.voices.made(options.voice, info))
            clip = self._services.clip(ask.clip) if ask.clip or task == "asr" else None
            reply.remark(clip.notes if clip else ())
            shelf = ask.shelf
            turn = Turn(clip.audio if clip else None, ask.text, shelf.images, shelf.frames)
            before = thread.conversation
            if options.skips_vision or not info.can_see:
                before = before.unseen()
            events = self._request(task, turn, before, options, cancel, waiting.notice)
            for batch in follow(events, cancel):
                for event in batch:
                    reply.take(event)
                sound = piece([event.audio for event in batch if isinstance(event, AudioChunk)])
                rate = sound[0] if sound else rate
                if run.shown:
                    yield View(reply.messages(waiting.text()), None, sound)
        except CancelledError:
            notice = "Stopped."
        except Exception as error:  # noqa: BLE001  (what is no message for people goes to the log)
            notice = told(error)
        finally:
            cancel.set()
            thread = reply.end(notice)
        tail = closing_piece(rate) if rate else None
        timed = _timed(clip.audio, reply.spans) if clip and task == "asr" else None
        yield View(
            list(thread.messages) if run.shown else None,
            thread if run.kept else None,
            tail if run.shown else None,
            timed if run.shown else None,
        )

    def _request(
        self,
        task: Task,
        turn: Turn,
        conversation: Conversation,
        options: Options,
        cancel: Cancel,
        on_wait: OnWait,
    ) -> Iterator[Event]:
        common: _Common = {
            "engine": options.engine,
            "wishes": options.wishes,
            "cancel": cancel,
            "on_wait": on_wait,
        }
        language = options.language or None
        if task == "tts":
            seed = options.sampling.seed
            return self._services.speak(turn.text, options.voice, seed=seed, **common)
        if task == "asr":
            assert turn.audio is not None
            return self._services.transcribe(turn.audio, language=language, **common)
        return self._services.converse(
            turn,
            conversation,
            options.voice,
            sampling=options.sampling,
            language=language,
            spoken=task == "sqa",
            **common,
        )


class _Common(TypedDict):
    engine: str
    wishes: Wishes
    cancel: Cancel
    on_wait: OnWait


class _Waiting:
    """What a request that has given nothing yet is waiting for."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._ahead: int | None = None

    def notice(self, ahead: int | None) -> None:
        """Told how many requests wait ahead; None once it is this one's turn."""
        self._ahead = ahead

    def text(self) -> str:
        return waiting_for(self._services, self._ahead)


def _timed(audio: Audio, spans: tuple[Span, ...]) -> gr.Audio | None:
    """The clip with its words as subtitles, which the small players of the chat lack."""
    if not spans:
        return None
    subtitles = [{"text": span.text, "timestamp": [span.start, span.end]} for span in spans]
    # As samples: for a file, Gradio would call ffprobe, which a bare machine lacks.
    return gr.Audio((audio.rate, audio.pcm16()), subtitles=subtitles, visible=True)
