"""OpenS2S behind the contract of `engines.base`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engines.answering import AnsweringEngine, Question
from engines.base import Cancel, EngineInfo, Models, Task, Wishes

if TYPE_CHECKING:
    from engines.opens2s.reply import Answer


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


class OpenS2SEngine(AnsweringEngine):
    """A `SpeechEngine` that answers speech with speech, and hears its tone.

    Args:
        info: What it is.
        parts: Models to borrow.
        models: Where from.
        block: Units that are rendered at once; 0: as many as is usual.
    """

    def __init__(self, info: EngineInfo, parts: Parts, models: Models, block: int = 0) -> None:
        super().__init__(info, models, parts.recognizers)
        self._parts = parts
        self._block = block

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

    def _answer(self, borrowed: tuple[Any, ...], question: Question) -> "Answer":
        # Torch comes with the models.
        from engines.opens2s.reply import Answer  # noqa: PLC0415

        decoder = borrowed[1] if question.spoken else None
        return Answer(borrowed[0], decoder, question, self._block)
