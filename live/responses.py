"""The responses that a client asks for: `response.create`."""

import asyncio
from collections.abc import Callable

from openai.types.realtime import ResponseCreateEvent

from engines.messages import Turn
from live.camera import Camera
from live.config import Config
from live.items import Item, Items
from live.protocol import ProtocolError
from live.reply import Reply
from live.speaker import Speaker
from live.stopwatch import Marks
from live.updates import Metadata, for_response, read_metadata


class Responses:
    """Starts replies, or releases what was begun on a guess.

    Args:
        speaker: Speaks them.
        items: What they answer.
        camera: What they are shown beside it.
        heard: Told of replies to sound that the client put in; tells it the words.
    """

    def __init__(
        self,
        speaker: Speaker,
        items: Items,
        camera: Camera,
        heard: Callable[[Reply, Item], None],
    ) -> None:
        self._speaker = speaker
        self._items = items
        self._camera = camera
        self._heard = heard
        self._tasks: set[asyncio.Task[None]] = set()

    def create(self, given: ResponseCreateEvent, config: Config) -> None:
        """Answer the last turn.

        Args:
            given: May hold settings for this response alone.
            config: Those of the session.

        Raises:
            ProtocolError: If an answer is under way, there is nothing to answer, or what is
                asked for is not to be had.
        """
        reply = self._speaker.reply
        if reply is not None and reply.released.is_set() and not reply.finished:
            raise ProtocolError(
                "A response is under way.", "conversation_already_has_active_response"
            )
        config, metadata = for_response(config, given.response), read_metadata(given.response)
        if reply is None or reply.question is None or reply.released.is_set():
            self._answer(config, metadata)
        elif reply.config == config:
            # A turn that was committed by hand and guessed at.
            reply.metadata = metadata
            reply.released.set()
        else:
            task = asyncio.ensure_future(self._answer_anew(reply, reply.question, config, metadata))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop whatever runs."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _answer(self, config: Config, metadata: Metadata) -> None:
        question = self._items.last_question()
        if question is None:
            raise ProtocolError("There is nothing to answer.", "nothing_to_answer")
        if not question.seen:
            self._items.show(question, self._camera.latest())
            self._camera.tell(question.id, question.frames)
        if not (question.text or question.audio or config.info.can_see):
            raise ProtocolError(config.info.blind, "cannot_see")
        reply = Reply(Marks())
        reply.asked = True
        turn = Turn(question.audio, "" if question.audio else question.text)
        self._start(reply, turn, question, config, metadata)
        if question.audio is not None:
            self._heard(reply, question)

    async def _answer_anew(
        self, guess: Reply, question: Item, config: Config, metadata: Metadata
    ) -> None:
        """Answer a turn that was guessed at under other settings, once its words are known."""
        await guess.transcribed.wait()
        if self._speaker.reply is not guess or guess.released.is_set():
            return
        if guess.refusal is not None:
            guess.released.set()  # It says itself what is wrong.
            return
        self._start(Reply(Marks()), Turn(text=guess.heard), question, config, metadata)

    def _start(
        self, reply: Reply, turn: Turn, question: Item, config: Config, metadata: Metadata
    ) -> None:
        reply.question, reply.metadata = question, metadata
        reply.released.set()
        self._speaker.start(reply, turn, config, before=question)
