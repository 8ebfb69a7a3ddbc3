"""One conversation over a connection: audio in, turns, replies, history."""

import asyncio
from collections.abc import Callable
from typing import Any

from openai.types import realtime

from engines.base import Conversation, Turn
from errors import ParleyError
from live.anticipation import Anticipation
from live.config import Config
from live.hearing import Hearing, milliseconds
from live.items import Item, Items
from live.protocol import (
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
from live.smart_turn import SmartTurn
from live.speaker import Emit, Speaker
from live.stopwatch import Marks
from live.turns import (
    Barged,
    Paused,
    Resumed,
    SpeechStarted,
    TurnEnded,
    TurnEvent,
)
from services import Services
from speech.pcm import Audio


class Session:
    """A conversation; everything in it happens on one event loop.

    Args:
        services: Engines and limits.
        judge: Gives what tells whether a pause ends a turn, or None while that is not
            there; then silence decides.
        emit: Queues an event for the client; never waits.
    """

    def __init__(
        self, services: Services, judge: Callable[[], SmartTurn | None], emit: Emit
    ) -> None:
        self.id = new_id("sess")
        self._services = services
        self._emit = emit
        self._config = Config(services.engine().info)
        self._items = Items()
        self._hearing = Hearing(self._config.turns, judge, self._follow)
        self._anticipation = Anticipation(services, self._tell_so_far)
        self._user_item = new_id("item")
        self._speaker = Speaker(services, self._items, emit, self._show, self._speaking)
        self._tasks: set[asyncio.Task[None]] = set()
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
            Playhead: self._speaker.heard,
            Played: self._speaker.played,
        }

    def begin(self) -> None:
        """Greet the client."""
        self._emit(event("session.created", session=self._config.as_event(self.id)))
        self._show("listening")

    async def close(self) -> None:
        """Stop whatever runs."""
        await self._speaker.close()
        await self._anticipation.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def take(self, text: str | bytes) -> None:
        """Act on an event of the client; what is wrong with it is told to the client."""
        event_id = None
        try:
            given = read(text)
            event_id = getattr(given, "event_id", None)
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
        self._emit(event("conversation.item.deleted", item_id=given.item_id))

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
        if said is not None and self._anticipates and self._anticipation.is_due(said.seconds):
            self._anticipation.hear(said, self._conversation(), self._config)

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
                    self._spawn(self._consider(turn_event))
                case Resumed():
                    self._speaker.drop_guess()
                case TurnEnded():
                    self._commit(turn_event, detected=not committed)

    async def _consider(self, paused: Paused) -> None:
        """The turn may be over: have that judged, and begin to answer in case it is."""
        # One after the other: at once, on two cores, each takes longer than both.
        await self._hearing.judge(paused)
        if self._anticipates and self._hearing.turns.is_in(paused):
            self._answer(paused.utterance, paused.speech_end)

    def _begin_turn(self, started: SpeechStarted | Barged) -> None:
        if self._config.interrupts:
            self._speaker.interrupt("turn_detected")
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
        self._emit(event("parley.transcript", item_id=self._user_item, text=text))

    def _commit(self, ended: TurnEnded, *, detected: bool) -> None:
        """The turn is over: it becomes an item, and the answer that was guessed is released."""
        item = Item("user", spoken=True, id=self._user_item)
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
        fields = {"item_id": item.id, "content_index": 0}
        kind = "conversation.item.input_audio_transcription"
        if reply.refusal is None:
            item.text = reply.heard
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
        self._speaker.start(reply, Turn(utterance), self._config)
        return reply

    # What the client asks for

    def _respond(self, given: realtime.ResponseCreateEvent) -> None:
        reply = self._speaker.reply
        if reply is not None and reply.opened and not reply.finished:
            raise ProtocolError(
                "A response is under way.", "conversation_already_has_active_response"
            )
        if reply is not None and reply.question is not None and not reply.released.is_set():
            reply.released.set()  # A turn that was committed by hand and guessed at.
        else:
            question = self._items.last_question()
            if question is None:
                raise ProtocolError("There is nothing to answer.", "nothing_to_answer")
            reply = Reply(Marks())
            reply.question = question
            reply.released.set()
            turn = Turn(question.audio, "" if question.audio else question.text)
            self._speaker.start(reply, turn, self._config, before=question)
            if question.audio is not None:
                self._spawn(self._tell_transcript(reply, question))
        self._show("thinking")

    def _create(self, given: realtime.ConversationItemCreateEvent) -> None:
        item = self._config.item(given.item)
        previous = self._items.add(item, given.previous_item_id)
        if item.role == "user" and self._config.interrupts:
            self._speaker.interrupt("turn_detected")
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
        before = self._config.turns
        self._config = self._config.updated(given.session)
        if self._config.turns != before:
            self._hearing.reset(self._config.turns)
            self._anticipation.stop()
            if self._state == "hearing":
                self._show("listening")  # The new detector has heard nothing yet.
        self._emit(event("session.updated", session=self._config.as_event(self.id)))

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
            if state == "listening" and self._anticipates:
                self._anticipation.hear(None, self._conversation(), self._config)

    def _conversation(self) -> Conversation:
        return self._items.conversation(self._config.instructions, self._config.history)

    @property
    def _anticipates(self) -> bool:
        return self._config.responds and self._services.settings.live_speculation

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
