"""OpenS2S behind the contract of `engines.base`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from engines.base import Cancel, EngineInfo, Models, Reference, Task, Wishes
from engines.cascade.stages import Stages
from engines.checks import check_turn, chosen_voice
from engines.messages import Conversation, Event, Sampling, Turn
from engines.subtitles import Subtitles
from errors import InputError
from speech.pcm import Audio


@dataclass(frozen=True, slots=True)
class Parts:
    """Names of the models that a request borrows.

    Attributes:
        model: The language models and the audio encoder, one snapshot.
        decoder: From units to sound.
        recognizers: What writes down what was heard, by language; "" for the others.
    """

    model: str
    decoder: str
    recognizers: Mapping[str, str]


class OpenS2SEngine:
    """A `SpeechEngine` that answers speech with speech.

    What was said is understood as sound, with its tone. A recognizer writes it down beside
    that: for the page, and for the next turn, in which the words stand for the sound.

    Args:
        info: What it is.
        parts: Models to borrow.
        models: Where from.
        block: Units that are rendered at once; 0: as many as is usual.
    """

    def __init__(self, info: EngineInfo, parts: Parts, models: Models, block: int = 0) -> None:
        self._info = info
        self._parts = parts
        self._models = models
        self._block = block

    @property
    def info(self) -> EngineInfo:
        """See `SpeechEngine`."""
        return self._info

    def models(self, task: Task, language: str | None = None) -> tuple[str, ...]:
        """See `SpeechEngine`."""
        if task == "text":
            return (self._parts.model,)
        return (self._parts.model, self._parts.decoder)

    def adapted(self, wishes: Wishes) -> "OpenS2SEngine":
        """See `Adaptable`."""
        block = wishes.block or self._block
        return OpenS2SEngine(self._info, self._parts, self._models, block)

    def choices(self, wishes: Wishes, cancel: Cancel) -> tuple[str, ...]:
        """See `Adaptable`: there is no server."""
        return ()

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
        names = self.models("sqa" if spoken else "text")
        with self._models.use(*names, cancel=cancel) as borrowed, Stages(cancel) as stages:
            # Torch comes with the models.
            from engines.opens2s.reply import Answer  # noqa: PLC0415

            answer = Answer(
                model=borrowed[0],
                decoder=borrowed[1] if spoken else None,
                subtitles=self._subtitles(turn, language),
                turn=turn,
                conversation=conversation,
                sampling=sampling,
                block=self._block,
            )
            yield from answer.run(stages)

    def _subtitles(self, turn: Turn, language: str | None) -> Subtitles | None:
        """What writes down a spoken turn."""
        if turn.audio is None:
            return None
        recognizers = self._parts.recognizers
        name = recognizers.get(language or "", recognizers[""])
        return Subtitles(self._models, name, turn.audio, language)
