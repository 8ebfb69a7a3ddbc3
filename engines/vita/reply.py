"""One answer on its way through the models: mark, text, speech and transcript side by side."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from engines.answering import Question
from engines.base import Cancel, Stopwatch
from engines.cascade.stages import Stages
from engines.messages import (
    AudioChunk,
    Event,
    Finished,
    Notice,
    TextDelta,
    Unanswered,
    Usage,
    Waiting,
)
from engines.native.sampling import Drawing
from engines.notices import telling
from engines.vita.asking import Asked, Asking
from engines.vita.runtime import Runtime
from engines.vita.vocabulary import IGNORED, Writing
from speech.pcm import Audio

#: Pieces of text that may wait for the voice: those of a long answer, so that it holds nothing
#: back.
_TEXTS = 4096
#: Events that may wait for the listener.
_EVENTS = 64

#: Qwen2.5's own. The published demos are at a temperature of 0.01, where these change nothing.
_TOP_K, _TOP_P = 20, 0.8

#: What the page says of silence.
SILENT = "It chose not to answer: that was not meant for it."

Put = Callable[[Event], None]


def drawing(temperature: float, top_p: float | None = None) -> Drawing:
    """How tokens are chosen."""
    return Drawing(temperature, _TOP_K, _TOP_P if top_p is None else top_p)


@dataclass
class Answer:
    """One request.

    Attributes:
        runtime: Borrowed.
        question: What is answered.
    """

    runtime: Runtime
    question: Question
    _watch: Stopwatch = field(init=False, default_factory=Stopwatch)
    _seconds: float = field(init=False, default=0.0)
    _usage: Usage = field(init=False, default=Usage())

    def run(self, stages: Stages) -> Iterator[Event]:
        """The events of the answer, the last one `Finished`.

        Raises:
            InputError: If the prompt does not fit.
        """
        asked = Asking(self.runtime).ask(self.question.turn, self.question.conversation)

        # Text and speech share one channel, so the listener gets both as they are made.
        def answer(put: Put) -> None:
            self._answer(stages, asked, put)

        yield from stages.read(stages.run("answering", answer, size=_EVENTS))
        stages.stop.check()
        yield Finished(self._watch.timings(self._seconds), self._usage)

    def _answer(self, stages: Stages, asked: Asked, put: Put) -> None:
        if asked.forgotten:
            count = "1 picture" if asked.forgotten == 1 else f"{asked.forgotten} pictures"
            left = "was" if asked.forgotten == 1 else "were"
            put(
                Notice(
                    f"{count} of earlier turns {left} left out: there was no room beside what is "
                    "new."
                )
            )

        def write_down(_: Put) -> None:
            if self.question.subtitles is not None:
                for heard in self.question.subtitles.write(self._watch, stages.stop):
                    put(heard)

        def write(hand_on: Callable[[str], None]) -> None:
            self._write(asked, put, hand_on, stages.stop)

        heard = stages.run("recognizing what was said", write_down)
        texts = stages.run("the language model", write, size=_TEXTS)
        if self.question.spoken:
            self._speak(texts, put, stages.stop)
        else:
            for _ in texts:
                pass
        for _ in heard:
            pass

    def _write(
        self, asked: Asked, put: Put, hand_on: Callable[[str], None], cancel: Cancel
    ) -> None:
        """Put the text as it is made, and hand it on to the voice; or say that there is none."""
        sampling = self.question.sampling
        tokens = self.runtime.write(
            asked.prompt,
            asked.senses,
            drawing=drawing(sampling.temperature, sampling.top_p),
            seed=sampling.seed,
            max_tokens=sampling.max_tokens,
            cancel=cancel,
            on_position=lambda ahead: put(Waiting(ahead)),
            tell=telling(put),
        )
        if asked.prompt.clips or asked.prompt.tiles:
            self._watch.mark("encoded")
        vocabulary = self.runtime.loaded.vocabulary
        writing, made = Writing(vocabulary), 0
        begun = False
        with closing(tokens):
            for token in tokens:
                made += 1
                self._watch.mark("first_token")
                state = vocabulary.marks.get(token) if made == 1 else None
                if state == IGNORED:
                    # What would follow is an answer to somebody else's words.
                    put(Unanswered(SILENT))
                    break
                text = "" if state else writing.push(token)
                if not begun:
                    text = text.lstrip()
                if text:
                    begun = True
                    put(TextDelta(text))
                    hand_on(text)
        self._usage = Usage(len(asked.prompt.ids), 0, made)

    def _speak(self, texts: Iterable[str], put: Put, cancel: Cancel) -> None:
        stream = self.runtime.loaded.voice.open(self.question.sampling.seed, cancel)
        told = 0

        def play(steps: Iterator[tuple[Audio, str] | None]) -> None:
            nonlocal told
            for made in self.runtime.spoken(steps, cancel):
                if made is None:
                    continue
                audio, words = made
                self._watch.mark("first_audio")
                self._seconds += audio.seconds
                put(AudioChunk(audio, words))
            for notice in stream.notices[told:]:
                put(Notice(notice))
            told = len(stream.notices)

        for text in texts:
            play(stream.steps(text))
        play(stream.last_steps())
