"""One answer on its way through the models: text, speech and transcript side by side."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from codec.decoder import SpeechDecoder
from codec.stream import DecoderStream, StreamPlan
from engines.answering import Question
from engines.base import Cancel, Stopwatch
from engines.cascade.stages import Stages
from engines.messages import (
    AudioChunk,
    Conversation,
    Event,
    Finished,
    TextDelta,
    Turn,
    Usage,
    Waiting,
)
from engines.opens2s.captions import Captions
from engines.opens2s.generation import Unit, Word
from engines.opens2s.prompts import Said, harmless
from engines.opens2s.runtime import Runtime, Seeds
from engines.opens2s.text import TextStream
from speech.pcm import Audio

#: Codes that may wait for the decoder: those of a long answer, so that it holds nothing back.
_CODES = 4096
#: Events that may wait for the listener.
_EVENTS = 64

Put = Callable[[Event], None]


@dataclass
class Answer:
    """One request.

    Attributes:
        model: Borrowed.
        decoder: Borrowed; None for an answer in text only.
        question: What is answered.
        block: Units that are rendered at once; 0: as many as is usual.
    """

    model: Runtime
    decoder: SpeechDecoder | None
    question: Question
    block: int = 0
    _seconds: float = field(init=False, default=0.0)
    _usage: Usage = field(init=False, default=Usage())
    _captions: Captions = field(init=False, default_factory=Captions)

    def run(self, stages: Stages) -> Iterator[Event]:
        """The events of the answer, the last one `Finished`."""
        watch = Stopwatch()

        # Text and speech share one channel, so the listener gets both as they are made.
        def answer(put: Put) -> None:
            self._answer(stages, put, watch)

        yield from stages.read(stages.run("answering", answer, size=_EVENTS))
        stages.stop.check()
        yield Finished(watch.timings(self._seconds), self._usage)

    def _answer(self, stages: Stages, put: Put, watch: Stopwatch) -> None:
        seeds = Seeds.of(self.question.sampling.seed)

        def write_down(_: Put) -> None:
            if self.question.subtitles is not None:
                for heard in self.question.subtitles.write(watch, stages.stop):
                    put(heard)

        def write(hand_on: Callable[[int], None]) -> None:
            self._write(seeds, put, hand_on, stages.stop, watch)

        heard = stages.run("recognizing what was said", write_down)
        codes = stages.run("the language model", write, size=_CODES)
        if self.decoder is None:
            for _ in codes:
                pass
        else:
            plan = StreamPlan.in_blocks(self.block)
            stream = self.decoder.open(seed=seeds.sound, plan=plan)
            for audio, last in _decoded(stream, codes, stages.stop):
                watch.mark("first_audio")
                self._seconds += audio.seconds
                words = self._captions.rest() if last else self._captions.speak(audio.seconds)
                put(AudioChunk(audio, words))
        for _ in heard:
            pass

    def _write(
        self,
        seeds: Seeds,
        put: Put,
        hand_on: Callable[[int], None],
        cancel: Cancel,
        watch: Stopwatch,
    ) -> None:
        """Put the text as it is made; hand on the codes of the speech."""
        answering = self.model.answer(
            dialogue(self.question.turn, self.question.conversation),
            sampling=self.question.sampling,
            seeds=seeds,
            spoken=self.decoder is not None,
            cancel=cancel,
            on_position=lambda ahead: put(Waiting(ahead)),
            on_encoded=lambda: watch.mark("encoded"),
        )
        text = TextStream(self.model.loaded.tokenizer)
        units = self.model.loaded.units
        words = 0

        def show(made: str) -> None:
            if made:
                watch.mark("first_token")
                put(TextDelta(made))
                self._captions.write(made)

        with closing(answering.tokens) as tokens:
            for token in tokens:
                match token:
                    case Word(id):
                        words += 1
                        show(text.push(id))
                    case Unit(id):
                        code = units.code(id)
                        if code is not None:
                            hand_on(code)
        show(text.finish())
        self._usage = Usage(answering.rows, 0, words)


def dialogue(turn: Turn, conversation: Conversation) -> tuple[Said, ...]:
    """What the model is shown: instructions, what was said before, and the question."""
    said = []
    if conversation.system.strip():
        said.append(Said("system", (harmless(conversation.system.strip()),)))
    said += [Said(message.role, (harmless(message.text),)) for message in conversation.visible()]
    question: list[str | Audio] = [harmless(turn.text.strip())] if turn.text.strip() else []
    if turn.audio is not None:
        question.append(turn.audio)
    return (*said, Said("user", tuple(question)))


def _decoded(
    stream: DecoderStream, codes: Iterable[int], cancel: Cancel
) -> Iterator[tuple[Audio, bool]]:
    """The speech of codes as it becomes certain, and whether it is the end of it."""
    for code in codes:
        audio = stream.push([code], cancel.check)
        if len(audio):
            yield audio, False
    audio = stream.finish(cancel.check)
    if len(audio):
        yield audio, True
