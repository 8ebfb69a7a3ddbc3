"""Speaks the replies of one session: starts them, sends them, stops them."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.messages import (
    AudioChunk,
    Event,
    Finished,
    Notice,
    Sampling,
    TextDelta,
    Timings,
    Transcript,
    Turn,
    Unanswered,
)
from errors import CancelledError, InputError, ParleyError
from live.config import Config
from live.items import Item, Items
from live.protocol import Emit, Played, Playhead, error_event, event, write_audio
from live.reply import Pacer, Reply
from live.traffic import Traffic
from services import Services
from streaming import stream

logger = logging.getLogger(__name__)

#: How often it is looked whether the listener has heard everything, seconds.
LISTENING_STEP = 0.05
#: When to try again where there is no room, seconds: what a refused request says as well.
RESET = 60.0


class Speaker:
    """The mouth of a session; one reply at a time is current, all others are stale.

    Args:
        services: Engines and limits.
        traffic: Of all sessions.
        items: Of the session; a reply becomes one when it is opened.
        emit: Queues an event for the client.
        show: Told the state that the person sees.
        speaking: Told when sound begins and when the listener has heard it all.
        made: Told when all of a reply is there, long before it has been heard.
    """

    def __init__(
        self,
        services: Services,
        traffic: Traffic,
        items: Items,
        emit: Emit,
        show: Callable[[str], None],
        speaking: Callable[[bool], None],
        made: Callable[[], None],
    ) -> None:
        self._services = services
        self._traffic = traffic
        self._items = items
        self._emit = emit
        self._show = show
        self._speaking = speaking
        self._made = made
        self._pacer: Pacer | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._told: set[str] = set()
        self.reply: Reply | None = None

    @property
    def working(self) -> bool:
        """Whether a reply that was asked for is being made."""
        reply = self.reply
        return reply is not None and reply.released.is_set() and not reply.made

    def expect(self) -> None:
        """Somebody begins to speak, and will want an answer."""
        self._traffic.note(self)

    def start(self, reply: Reply, turn: Turn, config: Config, before: Item | None = None) -> None:
        """Begin a reply and make it the current one; nothing is sent before its release.

        Args:
            reply: The new one.
            turn: What it answers.
            config: Of the session.
            before: The item that holds the question, if it is one already.
        """
        self.drop()
        self._traffic.note(self)
        sees = config.info.can_see
        conversation = self._items.conversation(
            config.instructions,
            config.history,
            before=before,
            images=sees and config.images_in_history,
        )
        images, frames = self._items.unanswered(before) if sees else ((), ())
        # A turn that is an item already has there what was shown with it.
        frames += tuple(frame for frame in turn.frames if sees and frame not in frames)
        turn = replace(turn, images=images, frames=frames)
        events = self._services.converse(
            turn,
            conversation,
            config.voice,
            engine=config.info.name,
            sampling=Sampling(config.temperature, config.max_tokens, top_p=config.top_p),
            language=config.language,
            spoken=config.speaks,
            wishes=config.wishes,
            cancel=reply.cancel,
            live=True,
        )
        self.reply = reply
        reply.config = config
        reply.item.spoken = config.speaks
        task = asyncio.create_task(self._run(reply, stream(events, reply.cancel)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def interrupt(self, reason: str) -> bool:
        """Stop the reply; keep of it what was heard. False if there is none to be heard."""
        reply, pacer = self.reply, self._pacer
        self.drop()
        if reply is None or pacer is None:
            return False
        if reply.item.spoken:
            reply.item.text = reply.item.heard(pacer.played * 1000)
        if not reply.finished:
            self._finish(reply, "cancelled", reason)
        self._report(reply, pacer)
        self._show("listening")
        return True

    def drop(self) -> None:
        """Make everything of the current reply stale."""
        reply, pacer = self.reply, self._pacer
        self.reply = self._pacer = None
        if reply is not None:
            reply.cancel.set()
            reply.released.set()
        if pacer is not None:
            pacer.stop()
        self._speaking(False)

    def drop_guess(self) -> None:
        """Make the current reply stale if it is still a guess: not even a turn has come of it."""
        reply = self.reply
        if reply is not None and reply.question is None and not reply.released.is_set():
            self.drop()

    async def close(self) -> None:
        """Stop whatever runs."""
        self.drop()
        self._traffic.forget(self)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def heard(self, given: Playhead) -> None:
        """The client has played so much of a reply."""
        if self.reply and self._pacer and self.reply.item.id == given.item_id:
            self._pacer.report(given.audio_ms / 1000)

    def played(self, given: Played) -> None:
        """The first sample of a reply reached the listener."""
        reply = self.reply
        if reply is not None and reply.id == given.response_id:
            reply.marks.at("first_played", "first_sent", given.latency_ms / 1000)
            self._tell_timings(reply)

    async def _run(self, reply: Reply, events: AsyncGenerator[Event]) -> None:
        try:
            reply.cancel.check()  # A guess that was stale before it began costs nothing.
            async for given in events:
                self._mark(reply, given)
                if isinstance(given, TextDelta | AudioChunk | Notice):
                    await reply.released.wait()
                    self._pass_on(reply, given)
                if isinstance(given, Unanswered):
                    reply.unanswered = given.text
            reply.made = True
            await reply.released.wait()
            if reply.unanswered:
                self._leave_unanswered(reply)
            else:
                await self._complete(reply)
        except CancelledError:
            reply.refuse(None)
        except ParleyError as error:
            await self._fail(reply, error)
        except Exception:
            logger.exception("a live reply failed")
            await self._fail(reply, ParleyError("This went wrong inside Parley."))
        finally:
            await events.aclose()

    async def _complete(self, reply: Reply) -> None:
        """Everything was made: wait until it is sent, then until it is heard."""
        pacer = self._open(reply)
        self._made()
        await pacer.drained()
        if self.reply is not reply:
            return
        self._finish(reply, "completed")
        while self.reply is reply and pacer.played < pacer.sent - LISTENING_STEP:
            await asyncio.sleep(LISTENING_STEP)
        if self.reply is reply:
            self._report(reply, pacer)
        self._silent(reply)

    def _leave_unanswered(self, reply: Reply) -> None:
        """What was said was not meant for the engine: forget it, and listen on."""
        if self.reply is not reply:
            return
        question = reply.question.id if reply.question is not None else None
        self._emit(event("parley.unanswered", item_id=question, message=reply.unanswered))
        if reply.asked or reply.opened:  # Who asked for a response waits for one.
            self._open(reply)
            self._finish(reply, "completed")
            self._items.forget(reply.item.id)
        if question is not None:
            self._items.forget(question)
        self._made()
        self._silent(reply)

    def _mark(self, reply: Reply, given: Event) -> None:
        match given:
            case Transcript(final=True):
                reply.marks.mark("transcript")
                reply.heard = given.text
                reply.transcribed.set()
            case TextDelta():
                reply.marks.mark("first_token")
            case AudioChunk():
                reply.marks.mark("first_audio")
            case Finished(Timings(encoded=float(encoded), first_token=float(first))):
                # Engines tell it only now: it was so long before something that was told.
                reply.marks.at("encoded", "first_token", encoded - first)

    async def _fail(self, reply: Reply, error: ParleyError) -> None:
        reply.refuse(error)
        await reply.released.wait()
        if self.reply is not reply:
            return
        if reply.opened or reply.asked or not isinstance(error, InputError):
            self._open(reply)
            self._emit(error_event(str(error), "response_failed", kind="server_error"))
            self._finish(reply, "failed")
        # Else it was noise that passed for speech: no answer, and no error.
        self._silent(reply)

    def _open(self, reply: Reply) -> Pacer:
        """Tell the client that a reply begins, unless it knows."""
        if self._pacer is not None:
            return self._pacer
        reply.opened = True
        others = max(self._services.turnstile.active - 1, self._traffic.others(self))
        self._pacer = Pacer(lambda samples: self._send(reply, samples), others)
        previous = self._items.add(reply.item)
        shown = reply.item.as_event()
        self._emit(event("response.created", response=reply.as_event("in_progress")))
        self._emit(event("rate_limits.updated", rate_limits=[self._limit()]))
        self._emit(
            event("response.output_item.added", response_id=reply.id, output_index=0, item=shown)
        )
        self._emit(event("conversation.item.added", previous_item_id=previous, item=shown))
        self._emit(event("response.content_part.added", part=reply.part(""), **reply.place))
        return self._pacer

    def _limit(self) -> dict[str, Any]:
        """How many requests the server takes at once, and how many more it would take now."""
        turnstile = self._services.turnstile
        return {
            "name": "requests",
            "limit": turnstile.limit,
            "remaining": turnstile.remaining,
            "reset_seconds": 0.0 if turnstile.remaining else RESET,
        }

    def _send(self, reply: Reply, samples: NDArray[np.int16]) -> None:
        if self.reply is reply:  # Else it was interrupted while this slice was on its way.
            begins = "first_sent" not in reply.marks.report()
            reply.marks.mark("first_sent")
            if begins:
                self._speaking(True)
                self._show("speaking")
            delta = write_audio(samples)
            self._emit(event("response.output_audio.delta", delta=delta, **reply.place))
            if begins:
                self._tell_timings(reply)

    def _pass_on(self, reply: Reply, given: TextDelta | AudioChunk | Notice) -> None:
        if self.reply is not reply:
            return
        if isinstance(given, Notice) and given.once:
            # Of the conversation, not of this reply, which may yet come to nothing.
            if given.text not in self._told:
                self._told.add(given.text)
                self._emit(event("parley.notice", response_id=reply.id, message=given.text))
            return
        pacer = self._open(reply)
        if isinstance(given, Notice):
            self._emit(event("parley.notice", response_id=reply.id, message=given.text))
            return
        if isinstance(given, TextDelta):
            reply.item.text += given.text
            kind = "output_audio_transcript" if reply.item.spoken else "output_text"
            self._emit(event(f"response.{kind}.delta", delta=given.text, **reply.place))
            return
        if pacer.dry:
            self._services.watch.underrun()
        pieces = reply.item.pieces
        begin = pieces[-1][1] if pieces else 0.0
        # A piece without a text goes on with that of the one before.
        text = given.text or (pieces.pop()[0] if pieces else "")
        pieces.append((text, begin + pacer.add(given.audio) * 1000))

    def _finish(self, reply: Reply, status: str, reason: str | None = None) -> None:
        """Tell the client that a reply is complete, or why it is not."""
        item = reply.item
        item.status = "completed" if status == "completed" else "incomplete"
        reply.marks.mark("last_sent")
        if item.spoken:
            self._emit(event("response.output_audio.done", **reply.place))
            self._emit(
                event("response.output_audio_transcript.done", transcript=item.text, **reply.place)
            )
        else:
            self._emit(event("response.output_text.done", text=item.text, **reply.place))
        self._emit(event("response.content_part.done", part=reply.part(item.text), **reply.place))
        self._emit(
            event(
                "response.output_item.done",
                response_id=reply.id,
                output_index=0,
                item=item.as_event(),
            )
        )
        self._emit(event("conversation.item.done", item=item.as_event()))
        self._emit(event("response.done", response=reply.as_event(status, reason)))
        reply.finished = True
        self._tell_timings(reply)

    def _tell_timings(self, reply: Reply) -> None:
        self._emit(event("parley.timings", response_id=reply.id, marks=reply.marks.report()))

    def _report(self, reply: Reply, pacer: Pacer) -> None:
        """Tell the monitor how a turn went, once nothing more of it will be heard."""
        if pacer.sent and reply.config is not None:
            engine = reply.config.info.name
            self._services.watch.live_turn(engine, reply.marks.report(), pacer.sent)

    def _silent(self, reply: Reply) -> None:
        """The listener has heard everything."""
        if self.reply is reply:
            self.drop()
            self._show("listening")
