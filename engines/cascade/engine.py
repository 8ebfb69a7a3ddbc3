"""The cascade: recognizer -> chat model -> clauses -> synthesizer, run concurrently.

Every stage works on a thread of its own: the synthesizer speaks clause n while
the chat model writes clause n+1 and the listener hears clause n-1. The parts
are borrowed by name for each request, so a part that is still being loaded
delays only the tasks that need it.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from engines.base import Cancel, EngineInfo, Models, Reference, Stopwatch, Task, Wishes
from engines.cascade.answering import Answering, prompts
from engines.cascade.delivery import Delivery, Pieces, WholeClauses
from engines.cascade.matched import VoiceMatching
from engines.cascade.parts import (
    Attentive,
    Bound,
    Listing,
    ReadingAhead,
    StreamingSynthesizer,
)
from engines.cascade.recognition import transcribe
from engines.cascade.stages import Stages, each
from engines.checks import check_turn, chosen_voice
from engines.messages import (
    AudioChunk,
    Conversation,
    Event,
    Finished,
    Sampling,
    Transcript,
    Turn,
)
from engines.notices import Notices, tell_nobody
from errors import InputError
from speech.pcm import Audio
from speech.segments import split
from speech.sentences import spoken_clauses
from speech.spoken import paragraphs

#: Marks that end a sentence.
_ENDINGS = " .,?!…。？！"


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

    recognizers: Mapping[str, str]
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
        self._wishes = Wishes()

    def adapted(self, wishes: Wishes) -> "Cascade":
        """The same cascade as a session wishes it; see `Adaptable`."""
        adapted = copy(self)
        adapted._wishes = wishes
        return adapted

    def choices(self, wishes: Wishes, cancel: Cancel) -> tuple[str, ...]:
        """Chat models of the server, where the chat model lies on one; see `Adaptable`."""
        with self.adapted(wishes)._use(self._parts.chat, cancel=cancel) as (chat,):
            return chat.choices() if isinstance(chat, Listing) else ()

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
        notices = Notices()
        with self._use(name, cancel=cancel, tell=notices.add) as (recognizer,):
            yield from transcribe(recognizer, audio, language, cancel, notices)

    def transcribe_words(
        self, audio: Audio, *, language: str | None = None, prompt: str = "", cancel: Cancel
    ) -> Iterator[Event]:
        """Recognize speech word by word; see `Detailing`."""
        name = self._parts.recognizer(None)
        notices = Notices()
        with self._use(name, cancel=cancel, tell=notices.add) as (recognizer,):
            if not isinstance(recognizer, Attentive):
                raise InputError(
                    f"The recognizer of {self._info.title} times no words and takes no prompt. "
                    "Choose another engine, or ask without them."
                )
            attentive = recognizer.expecting(prompt)
            yield from transcribe(attentive, audio, language, cancel, notices)

    def speak(
        self,
        text: str,
        voice: str | Reference | None = None,
        *,
        seed: int | None = None,
        cancel: Cancel,
    ) -> Iterator[Event]:
        """Synthesize speech; see `SpeechEngine`."""
        voice = chosen_voice(self._info, voice)
        notices = Notices()
        with (
            self._delivery(voice, seed, cancel, notices.add) as speaker,
            Stages(cancel) as stages,
        ):
            watch = Stopwatch()
            clauses = stages.run(
                "cutting the text",
                each(lambda: self._clauses(paragraphs(text), hurried=False)),
            )
            events = stages.run("speech synthesis", each(lambda: speaker.speak(clauses)))
            for event in stages.read(events):
                if isinstance(event, AudioChunk):
                    watch.mark("first_audio")
                yield from notices.new()
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
        voice = chosen_voice(self._info, voice)
        check_turn(self._info, turn)
        names = [self._parts.chat]
        if turn.audio is not None:
            names.append(self._parts.recognizer(language))
        notices = Notices()
        tell = notices.add
        delivery = self._delivery(voice, sampling.seed, cancel, tell) if spoken else nullcontext()
        with (
            self._use(*names, cancel=cancel, tell=tell) as models,
            delivery as speaker,
            Stages(cancel) as stages,
        ):
            borrowed = dict(zip(names, models, strict=True))
            reply = Answering(
                turn=turn,
                conversation=conversation,
                sampling=sampling,
                language=language,
                recognizer=borrowed.get(self._parts.recognizer(language)),
                chat=borrowed[self._parts.chat],
                speaker=speaker,
                cut=self._clauses,
            )
            for event in reply.run(stages):
                yield from notices.new()
                yield event

    def _clauses(self, tokens: Iterable[str], *, hurried: bool = True) -> Iterator[str]:
        """What of a text is spoken, clause by clause."""
        every_script = self._info.speaks != ("en",)
        return spoken_clauses(tokens, hurried=hurried, every_script=every_script)

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
        with self._use(*names, cancel=cancel) as (recognizer, chat):
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
                chat.prepare(prompts(conversation, sure, spoken=spoken), cancel)

    def learn(self, reference: Reference, *, cancel: Cancel) -> None:
        """Find out how to come near a reference; see `Learning`."""
        with self._delivery(chosen_voice(self._info, reference), None, cancel):
            pass

    @contextmanager
    def _use(
        self, *names: str, cancel: Cancel, tell: Callable[[str], None] = tell_nobody
    ) -> Iterator[tuple[Any, ...]]:
        """Borrow models; those on other machines are told for whom they work."""
        with self._models.use(*names, cancel=cancel) as models:
            yield tuple(
                model.bound(self._wishes, cancel, tell) if isinstance(model, Bound) else model
                for model in models
            )

    @contextmanager
    def _delivery(
        self,
        voice: str | Reference,
        seed: int | None,
        cancel: Cancel,
        tell: Callable[[str], None] = tell_nobody,
    ) -> Iterator[Delivery]:
        """What speaks one reply in a voice, with the models that it takes."""
        own = self._info.voices[0].name
        random = np.random.default_rng(seed)
        names = [self._parts.synthesizer]
        matched = isinstance(voice, Reference) and self._parts.encoder is not None
        if matched:
            assert self._parts.encoder is not None
            names.append(self._parts.encoder)
        with self._use(*names, cancel=cancel, tell=tell) as (synthesizer, *encoder):
            if isinstance(synthesizer, StreamingSynthesizer):
                style = self._wishes.style
                begun = synthesizer.begin(voice, style=style, random=random, cancel=cancel)
                with begun as reply:
                    yield Pieces(reply, synthesizer.rate)
            elif isinstance(voice, Reference):
                move = self._matching.mover(synthesizer, own, voice, encoder[0], cancel)
                yield WholeClauses(synthesizer, own, random, move)
            else:
                yield WholeClauses(synthesizer, voice, random)
