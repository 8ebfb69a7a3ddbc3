"""What engines have in common that answer, and do nothing else."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from engines.base import Cancel, EngineInfo, Models, Reference, Task
from engines.cascade.stages import Stages
from engines.checks import check_turn, chosen_voice
from engines.messages import Conversation, Event, Sampling, Turn
from engines.subtitles import Subtitles
from errors import InputError
from speech.pcm import Audio


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, checked.

    Attributes:
        turn: What was said, typed and shown.
        conversation: What was said before.
        sampling: How tokens are drawn.
        subtitles: Write down the turn, if it was spoken.
        spoken: False answers in text only.
    """

    turn: Turn
    conversation: Conversation
    sampling: Sampling
    subtitles: Subtitles | None
    spoken: bool


class Answering(Protocol):
    """An answer that is about to be made."""

    def run(self, stages: Stages) -> Iterator[Event]:
        """Its events, the last one `Finished`."""
        ...


class AnsweringEngine(ABC):
    """A `SpeechEngine` that neither writes down what it hears nor reads aloud.

    What was said is understood as sound. A recognizer writes it down beside that: for the page,
    and for the next turn, in which the words stand for the sound.

    Args:
        info: What it is.
        models: Where from.
        recognizers: Names of what writes down what was heard, by language; "" for the others.
    """

    def __init__(self, info: EngineInfo, models: Models, recognizers: Mapping[str, str]) -> None:
        self._info = info
        self._models = models
        self._recognizers = recognizers

    @property
    def info(self) -> EngineInfo:
        """See `SpeechEngine`."""
        return self._info

    @abstractmethod
    def models(self, task: Task, language: str | None = None) -> tuple[str, ...]:
        """See `SpeechEngine`."""

    @abstractmethod
    def _answer(self, borrowed: tuple[Any, ...], question: Question) -> Answering:
        """Prepare an answer.

        Args:
            borrowed: The models of `models("sqa")`, or of `models("text")` for text only.
            question: What was asked.
        """

    def transcribe(
        self, audio: Audio, *, language: str | None = None, cancel: Cancel
    ) -> Iterator[Event]:
        """Refused; see `SpeechEngine`."""
        raise InputError(f"{self._info.title} answers speech, it does not write it down.")

    def speak(
        self,
        text: str,
        voice: str | Reference | None = None,
        *,
        seed: int | None = None,
        cancel: Cancel,
    ) -> Iterator[Event]:
        """Refused; see `SpeechEngine`."""
        chosen_voice(self._info, voice)
        raise InputError(f"{self._info.title} speaks its own answers, it does not read aloud.")

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
        """Answer a turn; see `SpeechEngine`.

        The transcript of a spoken turn comes when it is there, mostly after the first words
        of the answer: these do not wait for it.
        """
        chosen_voice(self._info, voice)
        check_turn(self._info, turn)
        question = Question(turn, conversation, sampling, self._subtitles(turn, language), spoken)
        names = self.models("sqa" if spoken else "text")
        with self._models.use(*names, cancel=cancel) as borrowed, Stages(cancel) as stages:
            yield from self._answer(borrowed, question).run(stages)

    def _subtitles(self, turn: Turn, language: str | None) -> Subtitles | None:
        if turn.audio is None:
            return None
        name = self._recognizers.get(language or "", self._recognizers[""])
        return Subtitles(self._models, name, turn.audio, language)
