"""What Higgs Audio is given to read: instructions, voices, what was said before, and the text.

The wording and the order are those of the model's authors (boson-ai/higgs-audio,
examples/generation.py); the marks between are the checkpoint's own chat template.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.higgs.delay import Codebooks, Codes, delayed

INSTRUCTION = "Generate audio following instruction."
DIALOGUE_INSTRUCTION = (
    "You are an AI assistant designed to convert text into speech.\n"
    "If the user's message includes a [SPEAKER*] tag, do not read out the tag and generate "
    "speech for the following text, using the specified voice.\n"
    "If no speaker tag is present, select a suitable voice on your own."
)
ROOM = "Audio is recorded from a quiet room."

#: Anything that looks like one of the model's special tokens: in a text it would be taken for one.
_SPECIAL = re.compile(r"<\|[^<>]*\|>")


@dataclass(frozen=True, slots=True, eq=False)
class Utterance:
    """Something that was said: its words, and its frames, int64 `[n, K]`."""

    text: str
    frames: Codes


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A speaker as the scene introduces them: by words, by a recording's frames, or neither."""

    tag: str
    words: str = ""
    frames: Codes | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What stays the same through a reply.

    Attributes:
        room: Where it was recorded and how it sounds, in words.
        parts: Speakers that the scene introduces.
        before: Said before the reply began: a reference with its transcript.
        dialogue: Texts come with the tag of their speaker.
    """

    room: str = ROOM
    parts: tuple[Part, ...] = ()
    before: tuple[Utterance, ...] = ()
    dialogue: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """A prompt as the language model takes it.

    Attributes:
        ids: Int64 `[T]`; those of audio are placeholders.
        columns: Int64 `[A, K]`, one for each placeholder, in order.
        audio: Bool `[T]`: where the placeholders are.
    """

    ids: NDArray[np.int64]
    columns: Codes
    audio: NDArray[np.bool_]

    def keys(self) -> list[int | bytes]:
        """One value a position; positions whose values are equal mean the same to the model."""
        columns = iter(self.columns)
        return [
            next(columns).tobytes() if audio else int(token)
            for token, audio in zip(self.ids, self.audio, strict=True)
        ]


def clean(text: str) -> str:
    """A text without anything that the tokenizer would take for a mark of the model's."""
    while (cleaned := _SPECIAL.sub(" ", text)) != text:
        text = cleaned
    return text.strip()


class Prompter:
    """Writes prompts.

    Args:
        tokenizer: transformers' tokenizer of the checkpoint, with its chat template.
        codebooks: Of the model.
        sound: Id that stands for a column of audio.
        ramp: Id that stands for a column of the ramp at the end of audio.
    """

    def __init__(self, tokenizer: Any, codebooks: Codebooks, sound: int, ramp: int) -> None:
        self._tokenizer = tokenizer
        self._codebooks = codebooks
        self._sound = sound
        self._ramp = ramp

    def prompt(self, scene: Scene, said: Sequence[Utterance], text: str) -> Prompt:
        """The prompt for a text, after what was said earlier in the reply."""
        before = [*scene.before, *said]
        frames = [part.frames for part in scene.parts if part.frames is not None]
        columns = [
            delayed(codes, self._codebooks)
            for codes in (*frames, *(utterance.frames for utterance in before))
        ]
        rendered = self._tokenizer.apply_chat_template(
            _messages(scene, before, text), add_generation_prompt=True, tokenize=False
        )
        ids: list[int] = []
        waiting = iter(columns)
        for token in self._tokenizer.encode(rendered, add_special_tokens=False):
            if token != self._sound:
                ids.append(token)
                continue
            ramp = self._codebooks.count - 1
            ids += [self._sound] * (len(next(waiting)) - ramp) + [self._ramp] * ramp
        tokens = np.array(ids, np.int64)
        none = np.zeros((0, self._codebooks.count), np.int64)
        audio = (tokens == self._sound) | (tokens == self._ramp)
        return Prompt(tokens, np.concatenate([none, *columns]), audio)


def _messages(scene: Scene, before: Sequence[Utterance], text: str) -> list[dict[str, Any]]:
    """Messages as chat templates take them."""
    introduced = [_words(clean(scene.room) or ROOM)]
    for part in scene.parts:
        introduced.append(_words(f"{part.tag}: {clean(part.words)}"))
        if part.frames is not None:
            introduced.append({"type": "audio"})
    messages = [
        _message("system", _words(DIALOGUE_INSTRUCTION if scene.dialogue else INSTRUCTION)),
        _message("scene", *introduced),
    ]
    for utterance in before:
        messages.append(_message("user", _words(clean(utterance.text))))
        messages.append(_message("assistant", {"type": "audio"}))
    messages.append(_message("user", _words(clean(text))))
    return messages


def _words(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _message(role: str, *content: dict[str, str]) -> dict[str, Any]:
    return {"role": role, "content": list(content)}
