"""How a cascade answers: question -> prompts -> tokens -> clauses -> speech."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from engines.base import Cancel, Stopwatch
from engines.cascade.delivery import Delivery
from engines.cascade.parts import ChatModel, Prompt, Recognizer
from engines.cascade.recognition import recognize
from engines.cascade.stages import Stages, each
from engines.images import Image
from engines.messages import (
    AudioChunk,
    Conversation,
    Event,
    Finished,
    Sampling,
    TextDelta,
    Turn,
    Usage,
)
from errors import CancelledError, ParleyError

#: Short, because a CPU reads 75 tokens a second: these cost 0.5 s once, when warmed.
SPOKEN_PROMPT = (
    "You are a friendly voice assistant. Answer in one to three short spoken sentences, "
    "in plain words, without lists or markup."
)
TEXT_PROMPT = "You are a helpful assistant."

Put = Callable[[Event], None]


@dataclass
class Answering:
    """One request on its way through the stages.

    Attributes:
        turn: What is asked.
        conversation: The dialogue so far.
        sampling: How the chat model's tokens are drawn.
        language: ISO 639-1 code of the speech; None is to be detected.
        recognizer: For a turn that was spoken.
        chat: Writes the answer.
        speaker: Speaks it; None: an answer in text only.
        cut: Cuts tokens into what is spoken at once.
        usage: What the answer cost, once there is one.
        broken_off: Why the answer ends early, if it does.
    """

    turn: Turn
    conversation: Conversation
    sampling: Sampling
    language: str | None
    recognizer: Recognizer | None
    chat: ChatModel
    speaker: Delivery | None
    cut: Callable[[Iterable[str]], Iterator[str]]
    usage: Usage = field(default_factory=Usage)
    broken_off: ParleyError | None = None

    def run(self, stages: Stages) -> Iterator[Event]:
        """The events of the answer, `Finished` at the end."""
        watch = Stopwatch()

        # Text and audio share one channel, so the listener gets both as they are made.
        def answer(put: Put) -> None:
            self._answer(stages, put, watch)

        events = stages.run("answering", answer, size=64)
        yield from stages.read(events)
        yield Finished(watch.timings(self.speaker.seconds if self.speaker else 0.0), self.usage)

    def _answer(self, stages: Stages, put: Put, watch: Stopwatch) -> None:
        question = self._question(put, stages.stop, watch)
        spoken = self.speaker is not None
        asked = prompts(self.conversation, question, self.turn.seen, spoken=spoken)
        said = False

        def write(hand_on: Callable[[str], None]) -> None:
            def take(text: str) -> None:
                nonlocal said
                said = True
                watch.mark("first_token")
                put(TextDelta(text))
                hand_on(text)

            try:
                self.usage = self.chat.reply(asked, self.sampling, take, stages.stop)
            except CancelledError:
                raise
            except ParleyError as error:
                if not said:
                    raise
                # What has come of the answer is spoken before anybody hears of this.
                self.broken_off = error

        tokens = stages.run("the chat model", write, size=256)
        if self.speaker is None:
            for _ in tokens:
                pass
        else:
            clauses = stages.run("cutting the text", each(lambda: self.cut(tokens)))
            for event in self.speaker.speak(_marked(clauses, watch)):
                if isinstance(event, AudioChunk):
                    watch.mark("first_audio")
                put(event)
        if self.broken_off is not None:
            raise self.broken_off

    def _question(self, put: Put, cancel: Cancel, watch: Stopwatch) -> str:
        heard = ""
        if self.recognizer is not None and self.turn.audio is not None:
            for transcript in recognize(self.recognizer, self.turn.audio, self.language, cancel):
                put(transcript)
                heard = transcript.text
            watch.mark("recognized")
        return self.turn.question(heard)


def prompts(
    conversation: Conversation, question: str, images: tuple[Image, ...] = (), *, spoken: bool
) -> list[Prompt]:
    """What the chat model reads.

    Args:
        conversation: The dialogue so far; its instructions, or our own.
        question: The turn as text.
        images: What it shows.
        spoken: Whether the answer will be heard.
    """
    own = SPOKEN_PROMPT if spoken else TEXT_PROMPT
    said = conversation.visible()
    history = [Prompt(message.role, message.text, message.seen) for message in said]
    return [
        Prompt("system", conversation.system.strip() or own),
        *history,
        Prompt("user", question, images),
    ]


def _marked(clauses: Iterable[str], watch: Stopwatch) -> Iterator[str]:
    for clause in clauses:
        watch.mark("first_clause")
        yield clause
