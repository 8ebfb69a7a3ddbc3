"""The cascade: recognizer -> chat model -> clauses -> synthesizer, run concurrently.

Every stage works on a thread of its own: the synthesizer speaks clause n while
the chat model writes clause n+1 and the listener hears clause n-1. The parts
are borrowed by name for each request, so a part that is still being loaded
delays only the tasks that need it.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from engines.base import (
    AudioChunk,
    Cancel,
    Conversation,
    EngineInfo,
    Event,
    Finished,
    Models,
    Reference,
    Sampling,
    Span,
    Stopwatch,
    Task,
    TextDelta,
    Transcript,
    Turn,
    Usage,
)
from engines.cascade.matched import VoiceMatching
from engines.cascade.parts import (
    Attentive,
    ChatModel,
    Prompt,
    ReadingAhead,
    Recognizer,
    Synthesizer,
)
from engines.cascade.stages import Stages
from errors import InputError
from speech.pcm import Audio, concatenate, silence
from speech.seams import pause_after, trim
from speech.segments import no_speech_message, split
from speech.sentences import spoken_clauses
from speech.spoken import paragraphs

#: Short, because a CPU reads 75 tokens a second: these cost 0.5 s once, when warmed.
SPOKEN_PROMPT = (
    "You are a friendly voice assistant. Answer in one to three short spoken sentences, "
    "in plain words, without lists or markup."
)
TEXT_PROMPT = "You are a helpful assistant."

#: Silence before a reply, seconds: as much as a soft consonant needs to begin.
LEAD = 0.008
#: Marks that end a sentence.
_ENDINGS = " .,?!…。？！"

T = TypeVar("T")
Put = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Parts:
    """Names under which a cascade borrows its models.

    Attributes:
        recognizers: By ISO 639-1 code of the speech; the empty code is for every other.
        chat: The chat model.
        synthesizer: The synthesizer.
        encoder: The speaker encoder, by which the synthesizer's speech is moved towards
            a reference; None where it never is.
    """

    recognizers: dict[str, str]
    chat: str
    synthesizer: str
    encoder: str | None = None

    def recognizer(self, language: str | None) -> str:
        """The recognizer for a language; None is one to be detected."""
        return self.recognizers.get(language or "", self.recognizers[""])


class Cascade:
    """A `SpeechEngine` made of three models."""

    def __init__(self, info: EngineInfo, parts: Parts, models: Models) -> None:
        self._info = info
        self._parts = parts
        self._models = models
        self._matching = VoiceMatching()

    @property
    def info(self) -> EngineInfo:
        """What the engine is and can do."""
        return self._info

    def models(self, task: Task, language: str | None = None) -> tuple[str, ...]:
        """Names of the models that a request borrows."""
        recognizer = self._parts.recognizer(language)
        return {
            "asr": (recognizer,),
            "tts": (self._parts.synthesizer,),
            "text": (self._parts.chat,),
            "sqa": (recognizer, self._parts.chat, self._parts.synthesizer),
        }[task]

    def transcribe(
        self, audio: Audio, *, language: str | None = None, cancel: Cancel
    ) -> Iterator[Event]:
        """Recognize speech; see `SpeechEngine`."""
        name = self._parts.recognizer(language)
        with self._models.use(name, cancel=cancel) as (recognizer,):
            yield from _transcribe(recognizer, audio, language, cancel)

    def transcribe_words(
        self, audio: Audio, *, language: str | None = None, prompt: str = "", cancel: Cancel
    ) -> Iterator[Event]:
        """Recognize speech word by word; see `Detailing`."""
        name = self._parts.recognizer(None)
        with self._models.use(name, cancel=cancel) as (recognizer,):
            if not isinstance(recognizer, Attentive):
                raise InputError(
                    f"The recognizer of {self._info.title} times no words and takes no prompt. "
                    "Choose another engine, or ask without them."
                )
            yield from _transcribe(recognizer.expecting(prompt), audio, language, cancel)

    def speak(
        self,
        text: str,
        voice: str | Reference | None = None,
        *,
        seed: int | None = None,
        cancel: Cancel,
    ) -> Iterator[Event]:
        """Synthesize speech; see `SpeechEngine`."""
        self._check(voice)
        with self._speaker(voice, seed, cancel) as speaker, Stages(cancel) as stages:
            watch = Stopwatch()
            clauses = stages.run(
                "cutting the text",
                _each(lambda: spoken_clauses(paragraphs(text), hurried=False)),
            )
            events = stages.run("speech synthesis", _each(lambda: speaker.speak(clauses)))
            for event in stages.read(events):
                watch.mark("first_audio")
                yield event
            if not speaker.seconds:
                raise InputError(
                    "There is nothing in this text that I can speak. "
                    f"I speak {', '.join(self._info.speaks)}: letters, numbers and common signs."
                )
            yield Finished(watch.timings(speaker.seconds))

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
        """Answer a turn; see `SpeechEngine`."""
        self._check(voice)
        if turn.audio is None and not turn.text.strip():
            raise InputError("There is nothing to answer. Say or type something first.")
        names = [self._parts.chat]
        if turn.audio is not None:
            names.append(self._parts.recognizer(language))
        with (
            self._models.use(*names, cancel=cancel) as models,
            self._speaker(voice, sampling.seed, cancel) if spoken else nullcontext() as speaker,
            Stages(cancel) as stages,
        ):
            borrowed = dict(zip(names, models, strict=True))
            reply = _Reply(
                turn=turn,
                conversation=conversation,
                sampling=sampling,
                language=language,
                recognizer=borrowed.get(self._parts.recognizer(language)),
                chat=borrowed[self._parts.chat],
                speaker=speaker,
            )
            yield from reply.run(stages)

    def prepare(
        self,
        turn: Turn,
        conversation: Conversation,
        *,
        language: str | None = None,
        spoken: bool = True,
        cancel: Cancel,
    ) -> Generator[Transcript]:
        """Recognize what was said so far and read it to the chat model; see `Anticipating`."""
        names = (self._parts.recognizer(language), self._parts.chat)
        with self._models.use(*names, cancel=cancel) as (recognizer, chat):
            heard = ""
            if turn.audio is not None:
                parts = []
                for segment in split(turn.audio):
                    cancel.check()
                    parts.append(recognizer.recognize(segment.audio, language).text)
                heard = " ".join(filter(None, parts))
                yield Transcript(heard, False, heard=turn.audio.seconds)
            if isinstance(chat, ReadingAhead):
                # The recognizer ends what is not over with a full stop, too. A word that turns
                # out to be half a word costs two tokens now; one that stands spares them later.
                sure = turn.question(heard.rstrip(_ENDINGS))
                chat.prepare(_prompts(conversation, sure, spoken=spoken), cancel)

    def learn(self, reference: Reference, *, cancel: Cancel) -> None:
        """Find out how to come near a reference; see `Learning`."""
        self._check(reference)
        with self._speaker(reference, None, cancel):
            pass

    @contextmanager
    def _speaker(
        self, voice: str | Reference | None, seed: int | None, cancel: Cancel
    ) -> Iterator["_Speaker"]:
        """What speaks one reply in a voice, with the models that it takes."""
        own = self._info.voices[0].name
        if not isinstance(voice, Reference):
            with self._models.use(self._parts.synthesizer, cancel=cancel) as (synthesizer,):
                yield _Speaker(synthesizer, voice or own, seed)
            return
        assert self._parts.encoder is not None
        names = (self._parts.synthesizer, self._parts.encoder)
        with self._models.use(*names, cancel=cancel) as (synthesizer, encoder):
            move = self._matching.mover(synthesizer, own, voice, encoder, cancel)
            yield _Speaker(synthesizer, own, seed, move)

    def _check(self, voice: str | Reference | None) -> None:
        names = [own.name for own in self._info.voices]
        if isinstance(voice, Reference):
            if self._parts.encoder is None:
                raise InputError(self._info.unmatched)
        elif voice is not None and voice not in names:
            raise InputError(f"There is no voice {voice!r}. Voices: {', '.join(names)}.")


@dataclass
class _Reply:
    """One request on its way through the stages."""

    turn: Turn
    conversation: Conversation
    sampling: Sampling
    language: str | None
    recognizer: Recognizer | None
    chat: ChatModel
    speaker: "_Speaker | None"
    usage: Usage = field(default_factory=Usage)

    def run(self, stages: Stages) -> Iterator[Event]:
        watch = Stopwatch()

        # Text and audio share one channel, so the listener gets both as they are made.
        def answer(put: Put) -> None:
            self._answer(stages, put, watch)

        events = stages.run("answering", answer, size=64)
        yield from stages.read(events)
        yield Finished(watch.timings(self.speaker.seconds if self.speaker else 0.0), self.usage)

    def _answer(self, stages: Stages, put: Put, watch: Stopwatch) -> None:
        question = self._question(put, stages.stop, watch)
        prompts = _prompts(self.conversation, question, spoken=self.speaker is not None)

        def write(hand_on: Callable[[str], None]) -> None:
            def take(text: str) -> None:
                watch.mark("first_token")
                put(TextDelta(text))
                hand_on(text)

            self.usage = self.chat.reply(prompts, self.sampling, take, stages.stop)

        tokens = stages.run("the chat model", write, size=256)
        if self.speaker is None:
            for _ in tokens:
                pass
            return
        clauses = stages.run("cutting the text", _each(lambda: spoken_clauses(tokens)))
        for clause in self.speaker.speak(_marked(clauses, watch)):
            watch.mark("first_audio")
            put(clause)

    def _question(self, put: Put, cancel: Cancel, watch: Stopwatch) -> str:
        heard = ""
        if self.recognizer is not None and self.turn.audio is not None:
            for transcript in _recognize(self.recognizer, self.turn.audio, self.language, cancel):
                put(transcript)
                heard = transcript.text
            watch.mark("recognized")
        return self.turn.question(heard)


class _Speaker:
    """Speaks the clauses of one reply as one seamless piece."""

    def __init__(
        self,
        synthesizer: Synthesizer,
        voice: str,
        seed: int | None,
        move: Callable[[Audio], Audio] = lambda audio: audio,
    ) -> None:
        self._synthesizer = synthesizer
        self._voice = voice
        self._move = move
        self._random = np.random.default_rng(seed)
        self.seconds = 0.0

    def speak(self, clauses: Iterable[str]) -> Iterator[AudioChunk]:
        """One chunk a clause, each but the last ending in the pause its punctuation asks for."""
        pause = 0.0
        for clause in clauses:
            # Nobody hears the silence before a reply; they wait for its end.
            lead = None if self.seconds else LEAD
            made = self._synthesizer.synthesize(clause, self._voice, self._random)
            spoken = trim(made, lead=lead)
            if not len(spoken):
                continue
            audio = concatenate([silence(pause, spoken.rate), self._move(spoken)])
            pause = pause_after(clause)
            self.seconds += audio.seconds
            yield AudioChunk(audio, clause)


def _prompts(conversation: Conversation, question: str, *, spoken: bool) -> list[Prompt]:
    own = SPOKEN_PROMPT if spoken else TEXT_PROMPT
    history = [Prompt(message.role, message.text) for message in conversation.visible()]
    return [
        Prompt("system", conversation.system.strip() or own),
        *history,
        Prompt("user", question),
    ]


def _transcribe(
    recognizer: Recognizer, audio: Audio, language: str | None, cancel: Cancel
) -> Iterator[Event]:
    watch = Stopwatch()
    for transcript in _recognize(recognizer, audio, language, cancel):
        if transcript.final:
            watch.mark("recognized")
        yield transcript
    yield Finished(watch.timings(audio.seconds))


def _recognize(
    recognizer: Recognizer, audio: Audio, language: str | None, cancel: Cancel
) -> Iterator[Transcript]:
    """Recognize a clip of any length, segment by segment."""
    text, spans = "", list[Span]()
    for segment in split(audio):
        cancel.check()
        part = recognizer.recognize(segment.audio, language)
        language = language or part.language
        text = f"{text} {part.text}".strip()
        spans += [
            Span(span.text, span.start + segment.start, span.end + segment.start)
            for span in part.spans
        ]
        heard = segment.start + segment.audio.seconds
        yield Transcript(text, False, tuple(spans), heard, language)
    cancel.check()
    if not text:
        raise InputError(no_speech_message(audio))
    yield Transcript(text, True, tuple(spans), audio.seconds, language)


def _each(items: Callable[[], Iterable[T]]) -> Callable[[Callable[[T], None]], None]:
    """A stage that hands on what an iterable gives."""

    def work(put: Callable[[T], None]) -> None:
        for item in items():
            put(item)

    return work


def _marked(clauses: Iterable[str], watch: Stopwatch) -> Iterator[str]:
    for clause in clauses:
        watch.mark("first_clause")
        yield clause
