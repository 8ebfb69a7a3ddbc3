"""What is asked of the model for each task."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engines.base import Reference, Stopwatch
from engines.messages import Conversation, Message, Sampling, Turn
from engines.vita_audio.fbank import WIDTH
from engines.vita_audio.prompts import (
    ChatMessage,
    dialogue,
    interleaved,
    question_of,
    reading,
)
from engines.vita_audio.reply import Models, Part, Reply, drawing, seed_of
from engines.vita_audio.runtime import Heard
from engines.vita_audio.schedule import VANILLA
from errors import InputError
from speech.characters import without_emoji
from speech.reference import choose
from speech.segments import no_speech_message
from speech.sentences import clauses
from speech.vad import speech_regions

#: Codes for a second of speech.
_CODE_RATE = 12.5

#: Codes that a token of text takes at most when it is spoken: a third of a second.
_CODES_PER_TOKEN = 5

#: Longest text that is read aloud in one go, characters: about twenty seconds. The models were
#: trained on sentences.
_LONGEST_READING = 300

#: A text of so many characters takes a second at least; more means that the model cannot end.
_CHARACTERS_PER_SECOND = 8.0
#: A character of Chinese, Japanese or Korean is as long as so many letters.
_WIDE = 3.5
_FIRST_WIDE = 0x2E80

#: Seconds that any reading may take beyond that.
_READING_MARGIN = 1.5

#: The published scripts draw speech so, and take the likeliest token for all else.
_READING_TEMPERATURE = 1.0

#: Shortest speech that a reference must hold, and the longest part of it that is used, seconds.
_REFERENCE = (1.0, 15.0)

#: Kind and version of what is kept with a reference.
_KEPT_CODES, _KEPT_FEATURES = "glm-4-voice-codes-1", "sensevoice-features-1"


@dataclass(frozen=True, slots=True)
class Asking:
    """One request.

    Attributes:
        models: Borrowed.
        block: Codes that are rendered at once; 0: as many as is usual.
    """

    models: Models
    block: int = 0

    def reading(self, text: str, reference: Reference | None, seed: int | None) -> Reply:
        """Read a text aloud.

        Raises:
            InputError: If nothing in it can be spoken, or the reference is of no use.
        """
        watch = Stopwatch()
        pieces = list(_readings(text))
        if not pieces:
            raise InputError("There is nothing in this text that I can speak.")
        voice = self._voice(reference)
        parts = [
            Part(
                messages=reading(piece, voice.speech if voice else None),
                heard=(voice,) if voice else (),
                max_text=_most_codes(piece),
                max_codes=_most_codes(piece),
            )
            for piece in pieces
        ]
        return Reply(
            models=self.models,
            parts=parts,
            mode=self.models.vita.mode,
            drawing=drawing(_READING_TEMPERATURE),
            seed=seed_of(seed),
            watch=watch,
            block=self.block,
            shown=False,
        )

    def answer(
        self,
        turn: Turn,
        conversation: Conversation,
        reference: Reference | None,
        sampling: Sampling,
    ) -> Reply:
        """Answer a turn.

        Raises:
            InputError: If there is no speech in the clip, or the reference is of no use.
        """
        watch = Stopwatch()
        spoken = self.models.decoder is not None
        if turn.audio is not None and not speech_regions(turn.audio):
            raise InputError(no_speech_message(turn.audio))
        asked = self.models.hear(turn.audio) if turn.audio is not None else None
        voice = self._voice(reference)
        messages = dialogue(
            question_of(turn.text.strip(), asked.speech if asked else None),
            history=map(_message, conversation.visible()),
            instructions=self._instructions(conversation, spoken=spoken, voiced=voice is not None),
            voice=voice.speech if voice else None,
        )
        # In the order of the prompt: the voice is in the system message.
        heard = tuple(clip for clip in (voice, asked) if clip is not None)
        codes = sampling.max_tokens * _CODES_PER_TOKEN
        return Reply(
            models=self.models,
            parts=[Part(messages, heard, sampling.max_tokens, codes)],
            # Text alone has no runs of codes for the heads to make.
            mode=self.models.vita.mode if spoken else VANILLA,
            drawing=drawing(sampling.temperature, sampling.top_p),
            seed=seed_of(sampling.seed),
            watch=watch,
            block=self.block,
            question=turn.audio,
        )

    def _instructions(self, conversation: Conversation, *, spoken: bool, voiced: bool) -> str:
        own = conversation.system.strip()
        if not spoken or (voiced and not own):
            return own
        if own:
            return interleaved(own)
        return self.models.vita.persona.instructions

    def _voice(self, reference: Reference | None) -> Heard | None:
        """A reference as the model takes it; computed once for each recording."""
        if reference is None:
            return None

        def hear() -> Heard:
            return self.models.hear(choose(reference.audio, *_REFERENCE).audio)

        def codes() -> bytes:
            return np.array(hear().codes, np.int32).tobytes()

        def features() -> bytes:
            made = hear().features
            assert made is not None
            return made.astype(np.float32).tobytes()

        if self.models.tokenizer is not None:
            kept = np.frombuffer(reference.keep(_KEPT_CODES, codes), np.int32)
            return Heard(codes=tuple(kept.tolist()))
        rows = np.frombuffer(reference.keep(_KEPT_FEATURES, features), np.float32)
        return Heard(features=rows.reshape(-1, WIDTH).copy())


def _message(message: Message) -> ChatMessage:
    return ChatMessage(message.role, (message.text,))


def _readings(text: str) -> Iterator[str]:
    """The text in pieces of some sentences, without what nobody can say."""
    piece = ""
    plain = "".join(char for char in without_emoji(text) if char.isprintable() or char.isspace())
    for clause in clauses([plain], hurried=False):
        if not any(char.isalnum() for char in clause):
            continue
        if piece and len(piece) + len(clause) > _LONGEST_READING:
            yield piece.strip()
            piece = ""
        piece += clause
    if piece.strip():
        yield piece.strip()


def _most_codes(text: str) -> int:
    """Codes that reading a text takes at the very most."""
    letters = sum(_WIDE if ord(char) >= _FIRST_WIDE else 1.0 for char in text)
    return round((_READING_MARGIN + letters / _CHARACTERS_PER_SECOND) * _CODE_RATE)
