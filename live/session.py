"""One conversation over a connection: audio in, turns, replies, history."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from openai.types import realtime

from engines.base import EngineInfo
from engines.messages import Conversation, Turn
from errors import ParleyError
from live.anticipation import Anticipation
from live.camera import Camera
from live.config import Config, engine_as_event
from live.hearing import Hearing, milliseconds
from live.items import Item, Items
from live.presence import Presence
from live.protocol import (
    CameraFrame,
    Configure,
    Emit,
    Played,
    Playhead,
    ProtocolError,
    error_event,
    event,
    new_id,
    read,
    read_audio,
)
from live.reply import Reply
from live.responses import Responses
from live.smart_turn import SmartTurn
from live.speaker import Speaker
from live.stopwatch import Marks
from live.traffic import Traffic
from live.turn_events import (
    Barged,
    Paused,
    Resumed,
    SpeechStarted,
    TurnEnded,
    TurnEvent,
)
from live.updates import configured, updated
from services import Services
from speech.pcm import Audio

#: What comes in though nobody says anything.
UNSAID = (realtime.InputAudioBufferAppendEvent, Playhead, Played, CameraFrame)


class Session:
    """A conversation; everything in it happens on one event loop.

    Args:
        services: Engines and limits.
        judge: Gives what tells whether a pause ends a turn, or None while that is not
            there; then silence decides.
        emit: Queues an event for the client; never waits.
        clock: Monotonic time, seconds.
        engine: The one to begin with; None is the one in the settings.
        traffic: Of all sessions; None: there is no other one.
    """

    def __init__(
        self,
        services: Services,
        judge: Callable[[], SmartTurn | None],
        emit: Emit,
        clock: Callable[[], float] = time.monotonic,
        *,
        engine: str | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        self.id = new_id("sess")
        self._services = services
        self._presence = Presence(emit, clock)
        self._emit = self._presence.tell
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        info = services.info(engine)
        config = Config(info, temperature=services.settings.temperature)
        self._config = config.with_engine(info)
        self._items = Items(self._tell_deleted)
        self._hearing = Hearing(self._config.turns, judge, self._follow)
        self._anticipation = Anticipation(services, self._tell_so_far)
        self._camera = Camera(info, self._emit)
        self._user_item = new_id("item")
        self._speaker = Speaker(
            services,
            traffic or Traffic(),
            self._items,
            self._emit,
            self._show,
            self._speaking,
            self._get_ready,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._responses = Responses(
            self._speaker,
            self._items,
            self._camera,
            lambda reply, item: self._spawn(self._tell_transcript(reply, item)),
        )
        self._state = ""
        self._actions: dict[type, Callable[[Any], None]] = {
            realtime.InputAudioBufferAppendEvent: self._hear,
            realtime.InputAudioBufferCommitEvent: self._commit_by_hand,
            realtime.InputAudioBufferClearEvent: self._clear,
            realtime.ConversationItemCreateEvent: self._create,
            realtime.ConversationItemTruncateEvent: self._truncate,
            realtime.ConversationItemDeleteEvent: self._delete,
            realtime.ConversationItemRetrieveEvent: self._retrieve,
            realtime.ResponseCreateEvent: self._respond,
            realtime.ResponseCancelEvent: self._cancel,
            realtime.SessionUpdateEvent: self._update,
            Configure: self._configure,
            CameraFrame: self._look,
            Playhead: self._speaker.heard,
            Played: self._speaker.played,
        }

    def begin(self) -> None:
        """Greet the client."""
        self._emit(event("session.created", session=self._config.as_event(self.id)))
        self._tell_engine()
        self._show("listening")

    def suspend(self) -> None:
        """The connection is gone: as if somebody hung up in mid-word, but nothing is forgotten."""
        self._presence.leave()
        self._speaker.interrupt("client_cancelled")
        self._anticipation.stop()
        self._hearing.clear()
        self._state = ""

    def resume(self, emit: Emit) -> None:
        """Go on over another connection."""
        self._presence.come_back(emit)
        self._show("listening")

    async def until_quiet(self, seconds: float) -> None:
        """Wait until nobody has said anything for so long; 0 waits for ever.

        Raises:
            Whatever went wrong inside the session.
        """
        while True:
            if seconds and self.quiet >= seconds:
                return
            await asyncio.wait({self._broken}, timeout=seconds - self.quiet if seconds else None)
            if self._broken.done():
                self._broken.result()

    @property
    def quiet(self) -> float:
        """For how long nobody has said anything, seconds."""
        return 0.0 if self._speaker.working else self._presence.quiet

    async def close(self) -> None:
        """Stop whatever runs."""
        await self._speaker.close()
        await self._anticipation.close()
        await self._responses.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def take(self, text: str | bytes) -> None:
        """Act on an event of the client; what is wrong with it is told to the client."""
        event_id = None
        try:
            given = read(text)
            event_id = getattr(given, "event_id", None)
            if not isinstance(given, UNSAID):
                self._presence.note()
            self._act(given)
        except ProtocolError as error:
            self._emit(
                error_event(
                    str(error), error.code, event_id=error.event_id or event_id, param=error.param
                )
            )
        except ParleyError as error:
            self._emit(error_event(str(error), "refused", event_id=event_id))

    def _act(self, given: Any) -> None:
        action = self._actions.get(type(given))
        if action is None:
            raise ProtocolError(
                f"{given.type} is not for a WebSocket.", "unknown_event", param="type"
            )
        action(given)

    def _clear(self, given: realtime.InputAudioBufferClearEvent) -> None:
        self._hearing.turns.clear()
        self._anticipation.stop()
        self._speaker.drop_guess()
        self._emit(event("input_audio_buffer.cleared"))

    def _delete(self, given: realtime.ConversationItemDeleteEvent) -> None:
        self._items.delete(given.item_id)
        self._tell_deleted(given.item_id)

    def _retrieve(self, given: realtime.ConversationItemRetrieveEvent) -> None:
        item = self._items.get(given.item_id).as_event()
        self._emit(event("conversation.item.retrieved", item=item))

    def _cancel(self, given: realtime.ResponseCancelEvent) -> None:
        thinking = self._state == "thinking"
        if self._speaker.interrupt("client_cancelled"):
            return
        if not thinking:
            raise ProtocolError("No response is under way.", "response_cancel_not_active")
        self._show("listening")  # The client had not been told of it yet.

    # What the user says

    def _hear(self, given: realtime.InputAudioBufferAppendEvent) -> None:
        self._hearing.push(read_audio(given.audio))
        said = self._hearing.turns.utterance()
        if said is not None and self._anticipation.is_due(said.seconds):
            self._get_ready(said)

    def _commit_by_hand(self, given: realtime.InputAudioBufferCommitEvent) -> None:
        events = self._hearing.turns.commit()
        if not events:
            raise ProtocolError(
                "There is no speech in the buffer to commit.", "input_audio_buffer_commit_empty"
            )
        self._follow(events, committed=True)

    def _follow(self, events: list[TurnEvent], *, committed: bool = False) -> None:
        for turn_event in events:
            match turn_event:
                case SpeechStarted() | Barged():
                    self._begin_turn(turn_event)
                case Paused():
                    self._anticipation.stop()
                    self._spawn(self._hearing.judge(turn_event))
                    if self._anticipates and self._speaker.reply is None:
                        self._answer(turn_event.utterance, turn_event.speech_end)
                case Resumed():
                    self._speaker.drop_guess()
                case TurnEnded():
                    self._commit(turn_event, detected=not committed)

    def _begin_turn(self, started: SpeechStarted | Barged) -> None:
        if self._config.interrupts:
            self._speaker.interrupt("turn_detected")
        self._speaker.expect()
        self._user_item = new_id("item")
        self._emit(
            event(
                "input_audio_buffer.speech_started",
                audio_start_ms=milliseconds(started.start),
                item_id=self._user_item,
            )
        )
        self._show("hearing")

    def _tell_so_far(self, text: str) -> None:
        if self._config.transcribes:
            self._emit(event("parley.transcript", item_id=self._user_item, text=text))

    def _commit(self, ended: TurnEnded, *, detected: bool) -> None:
        """The turn is over: it becomes an item, and the answer that was guessed is released."""
        seen = self._camera.frames(ended.speech_end)
        item = Item("user", spoken=True, frames=seen, id=self._user_item)
        if detected:
            self._emit(
                event(
                    "input_audio_buffer.speech_stopped",
                    audio_end_ms=milliseconds(ended.speech_end),
                    item_id=item.id,
                )
            )
        previous = self._items.add(item)
        self._user_item = new_id("item")
        self._emit(
            event("input_audio_buffer.committed", item_id=item.id, previous_item_id=previous)
        )
        self._announce(item, previous)
        self._camera.tell(item.id, seen)
        reply = self._speaker.reply
        if reply is None or reply.question is not None:
            reply = self._answer(ended.utterance, ended.speech_end)
        reply.marks.mark("endpoint")
        reply.question = item
        self._spawn(self._tell_transcript(reply, item))
        if detected and self._config.responds:
            reply.released.set()
            self._show("thinking")

    async def _tell_transcript(self, reply: Reply, item: Item) -> None:
        await reply.transcribed.wait()
        item.text = reply.heard
        if not self._config.transcribes:
            return
        fields = {"item_id": item.id, "content_index": 0}
        kind = "conversation.item.input_audio_transcription"
        if reply.refusal is None:
            self._emit(event(f"{kind}.delta", delta=item.text, **fields))
            usage = {"type": "duration", "seconds": round(reply.seconds, 3)}
            self._emit(event(f"{kind}.completed", transcript=item.text, usage=usage, **fields))
            return
        error = {"type": "transcription_error", "message": str(reply.refusal)}
        self._emit(event(f"{kind}.failed", error=error, **fields))

    # What it answers

    def _answer(self, utterance: Audio, speech_end: int) -> Reply:
        """Begin to answer an utterance; nothing is sent before the reply is released."""
        self._anticipation.stop()
        reply = Reply(Marks(self._hearing.since(speech_end)))
        reply.seconds = utterance.seconds
        turn = Turn(utterance, frames=self._camera.frames(speech_end))
        self._speaker.start(reply, turn, self._config)
        return reply

    # What the client asks for

    def _respond(self, given: realtime.ResponseCreateEvent) -> None:
        self._responses.create(given, self._config)
        self._show("thinking")

    def _create(self, given: realtime.ConversationItemCreateEvent) -> None:
        item = Item.created(given.item, self._config.info)
        if item.text:
            item.text = self._services.text(item.text)
        previous = self._items.add(item, given.previous_item_id)
        if item.role == "user" and self._config.interrupts:
            self._speaker.interrupt("turn_detected")
            if self._state == "thinking":
                self._show("listening")  # The reply was dropped before the client knew of it.
        self._announce(item, previous)

    def _truncate(self, given: realtime.ConversationItemTruncateEvent) -> None:
        item = self._items.get(given.item_id)
        if item.role != "assistant" or not item.spoken:
            raise ProtocolError("Only spoken replies can be truncated.", "invalid_item")
        item.text = item.heard(given.audio_end_ms)
        self._emit(
            event(
                "conversation.item.truncated",
                item_id=item.id,
                content_index=given.content_index,
                audio_end_ms=given.audio_end_ms,
            )
        )

    def _update(self, given: realtime.SessionUpdateEvent) -> None:
        config = updated(self._config, given.session, self._offered)
        if config.instructions.strip():
            config = replace(config, instructions=self._services.text(config.instructions))
        self._set(config)
        self._emit(event("session.updated", session=self._config.as_event(self.id)))

    def _offered(self, name: str | None) -> EngineInfo:
        """An engine, if it can answer; the one that answers now is not looked at again."""
        if name != self._config.info.name:
            self._services.desk.require(name or self._services.settings.engine)
        return self._services.info(name)

    def _configure(self, given: Configure) -> None:
        self._set(configured(self._config, given))
        self._emit(event("parley.configured", **self._config.own_as_event()))

    def _set(self, config: Config) -> None:
        """Go on under new settings; speech in progress is heard on where it can be."""
        before, self._config = self._config, config
        self._hearing.turns.settings = config.turns
        if config != before:
            self._speaker.drop_guess()
            self._anticipation.stop()
            if self._state == "listening":
                self._get_ready()
        if config.turns.kind != before.turns.kind and self._state == "hearing":
            self._show("listening")
        if config.info.name != before.info.name:
            self._switched()
        elif config.info != before.info:
            self._tell_engine()
        if config.voice not in (None, before.voice):
            self._spawn(self._anticipation.learn(config))

    def _switched(self) -> None:
        """Another engine is there: what the one before is doing ends."""
        reply = self._speaker.reply
        if reply is not None and reply.released.is_set():
            self._speaker.interrupt("client_cancelled")
            if self._state == "thinking":
                self._show("listening")
        self._camera.switch(self._config.info, missed=self._items.have_images())
        self._tell_engine()

    def _tell_engine(self) -> None:
        shown = engine_as_event(self._config.info, self._services.infos())
        self._emit(event("parley.engine", **shown))

    def _look(self, given: CameraFrame) -> None:
        self._camera.look(given.image, self._hearing.turns.received, given.event_id)

    def _tell_deleted(self, item_id: str) -> None:
        self._emit(event("conversation.item.deleted", item_id=item_id))

    def _announce(self, item: Item, previous: str | None, *, done: bool = True) -> None:
        shown = item.as_event()
        self._emit(event("conversation.item.added", previous_item_id=previous, item=shown))
        if done:
            self._emit(event("conversation.item.done", previous_item_id=previous, item=shown))

    def _speaking(self, on: bool) -> None:
        self._hearing.turns.speaking(on)

    def _show(self, state: str) -> None:
        if state != self._state:
            self._state = state
            self._emit(event("parley.state", state=state))
            if state == "listening":
                self._get_ready()

    def _get_ready(self, said: Audio | None = None) -> None:
        if self._anticipates:
            self._anticipation.hear(said, self._conversation(), self._config)

    def _conversation(self) -> Conversation:
        return self._items.conversation(self._config.instructions, self._config.history)

    @property
    def _anticipates(self) -> bool:
        return self._config.responds and self._services.settings.live_speculation

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self._broken.done():
            self._broken.set_exception(error)
