"""VITA-1.5 behind the contract of `engines.base`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engines.answering import AnsweringEngine, Question
from engines.base import EngineInfo, Models, Task

if TYPE_CHECKING:
    from engines.vita.reply import Answer


class VitaEngine(AnsweringEngine):
    """A `SpeechEngine` that hears and sees, and answers what is meant for it.

    Args:
        info: What it is.
        model: Name of the snapshot to borrow: language model, encoders, voice.
        models: Where from.
        recognizers: See `AnsweringEngine`.
    """

    def __init__(
        self, info: EngineInfo, model: str, models: Models, recognizers: Mapping[str, str]
    ) -> None:
        super().__init__(info, models, recognizers)
        self._model = model

    def models(self, task: Task, language: str | None = None) -> tuple[str, ...]:
        """See `SpeechEngine`."""
        return (self._model,)

    def _answer(self, borrowed: tuple[Any, ...], question: Question) -> "Answer":
        # Torch comes with the models.
        from engines.vita.reply import Answer  # noqa: PLC0415

        (runtime,) = borrowed
        return Answer(runtime, question)
