"""VITA-Audio behind the contract of `engines.base`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engines.base import Cancel, EngineInfo, Models, Reference, Stopwatch, Task, Wishes
from engines.cascade.stages import Stages
from engines.checks import check_turn, chosen_voice
from engines.messages import (
    Conversation,
    Event,
    Finished,
    Sampling,
    Transcript,
    Turn,
    Waiting,
)
from engines.notices import telling
from errors import InputError
from speech.pcm import Audio
from speech.segments import no_speech_message

if TYPE_CHECKING:  # Torch is not imported before a model is loaded.
    from engines.vita_audio.asking import Asking


@dataclass(frozen=True, slots=True)
class Parts:
    """Names of the models that a request borrows.

    Attributes:
        model: The checkpoint.
        decoder: From codes to sound.
        tokenizer: From sound to codes; None where the checkpoint has an encoder.
    """

    model: str
    decoder: str
    tokenizer: str | None


class VitaAudioEngine:
    """A `SpeechEngine` that writes text and codes of speech in turn.

    Args:
        info: What it is.
        parts: Models to borrow.
        models: Where from.
        block: Codes that are rendered at once; 0: as many as is usual.
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
        return self._names(heard=task in ("asr", "sqa"), spoken=task in ("tts", "sqa"))

    def adapted(self, wishes: Wishes) -> "VitaAudioEngine":
        """See `Adaptable`."""
        block = wishes.block or self._block
        return VitaAudioEngine(self._info, self._parts, self._models, block)

    def choices(self, wishes: Wishes, cancel: Cancel) -> tuple[str, ...]:
        """See `Adaptable`: whatever writes, it is this one checkpoint."""
        return ()

    def transcribe(
        self, audio: Audio, *, language: str | None = None, cancel: Cancel
    ) -> Iterator[Event]:
        """Recognize speech; see `SpeechEngine`. The language is the model's to find out."""
        with (
            self._asking(heard=True, spoken=False, cancel=cancel) as asking,
            Stages(cancel) as stages,
        ):
            from engines.vita_audio.reply import recognize  # noqa: PLC0415

            watch = Stopwatch()

            # On a thread, as it can tell of its wait for a place only while it waits.
            def work(put: Callable[[Event], None]) -> None:
                def told(ahead: int) -> None:
                    put(Waiting(ahead))

                for transcript in recognize(asking.models, audio, stages.stop, told, telling(put)):
                    put(transcript)

            for event in stages.read(stages.run("recognition", work)):
                if isinstance(event, Transcript) and event.final:
                    watch.mark("recognized")
                    if not event.text:
                        raise InputError(no_speech_message(audio))
                yield event
            yield Finished(watch.timings(audio.seconds))

    def speak(
        self,
        text: str,
        voice: str | Reference | None = None,
        *,
        seed: int | None = None,
        cancel: Cancel,
    ) -> Iterator[Event]:
        """Synthesize speech; see `SpeechEngine`. A reference comes before the text."""
        reference = self._reference(voice)
        heard = reference is not None
        with (
            self._asking(heard=heard, spoken=True, cancel=cancel) as asking,
            Stages(cancel) as stages,
        ):
            reply = asking.reading(text, reference, seed)
            for event in reply.run(stages):
                if isinstance(event, Finished) and not reply.seconds:
                    raise InputError(
                        "The model made no speech of this text. Try another wording, or another "
                        "engine."
                    )
                yield event

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

        The transcript of a spoken turn comes after the first speech of the reply: the model
        understands the sound itself, and nobody waits for the words.
        """
        reference = self._reference(voice)
        check_turn(self._info, turn)
        heard = turn.audio is not None or (spoken and reference is not None)
        with (
            self._asking(heard=heard, spoken=spoken, cancel=cancel) as asking,
            Stages(cancel) as stages,
        ):
            reply = asking.answer(turn, conversation, reference if spoken else None, sampling)
            yield from reply.run(stages)

    @contextmanager
    def _asking(self, *, heard: bool, spoken: bool, cancel: Cancel) -> Iterator["Asking"]:
        """The models of a request, and what is asked of them."""
        cancel.check()
        names = self._names(heard=heard, spoken=spoken)
        with ExitStack() as held:
            borrowed = dict(
                zip(names, held.enter_context(self._models.use(*names, cancel=cancel)), strict=True)
            )
            # Torch comes with the models.
            from engines.vita_audio.asking import Asking  # noqa: PLC0415
            from engines.vita_audio.reply import Models as Borrowed  # noqa: PLC0415

            tokenizer = self._parts.tokenizer
            yield Asking(
                Borrowed(
                    borrowed[self._parts.model],
                    borrowed.get(self._parts.decoder),
                    borrowed.get(tokenizer) if tokenizer else None,
                ),
                self._block,
            )

    def _names(self, *, heard: bool, spoken: bool) -> tuple[str, ...]:
        names = [self._parts.model]
        if spoken:
            names.append(self._parts.decoder)
        if heard and self._parts.tokenizer is not None:
            names.append(self._parts.tokenizer)
        return tuple(names)

    def _reference(self, voice: str | Reference | None) -> Reference | None:
        chosen = chosen_voice(self._info, voice)
        return chosen if isinstance(chosen, Reference) else None
