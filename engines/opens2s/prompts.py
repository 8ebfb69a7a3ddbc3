"""The prompt: what was said, in the chat template of the snapshot."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from speech.pcm import Audio

#: What the reference says before all else. Other instructions become a block of their own.
SYSTEM = "You are a helpful assistant."

#: Stands for a clip in the text; it is no token.
_PLACE = "<|im_audio|>"
_CLIP = f"<|im_audio_start|>{_PLACE}<|im_audio_end|>"
#: Ends the prompt: from here on the model speaks as it writes.
_SPEAK = "<|im_tts_start|>"

#: The look of special tokens; the tokenizer would take typed ones for real.
_SPECIAL = re.compile(r"<(?=\|\w+\|>|/?think>)")


@dataclass(frozen=True, slots=True)
class Said:
    """One message: texts and clips in the order in which they were given."""

    role: Literal["system", "user", "assistant"]
    content: tuple[str | Audio, ...]

    @property
    def text(self) -> str:
        """As the template is given it: the parts without anything between them."""
        return "".join(part if isinstance(part, str) else _CLIP for part in self.content)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model reads.

    Attributes:
        pieces: Ids of the text before, between and after the clips: one more than clips.
        clips: The clips.
    """

    pieces: tuple[tuple[int, ...], ...]
    clips: tuple[Audio, ...]

    @property
    def tokens(self) -> int:
        """Text tokens."""
        return sum(map(len, self.pieces))


def render(said: Sequence[Said], tokenizer: Any) -> str:
    """The prompt as text, with `<|im_audio|>` where a clip belongs."""
    messages = [{"role": "system", "content": SYSTEM}]
    messages += [{"role": message.role, "content": message.text} for message in said]
    rendered: str = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=False, enable_thinking=False
    )
    return rendered + _SPEAK


def build(said: Sequence[Said], tokenizer: Any) -> Prompt:
    """The prompt as ids; the text between two clips is tokenized by itself."""
    pieces = render(said, tokenizer).split(_PLACE)
    clips = [part for message in said for part in message.content if isinstance(part, Audio)]
    ids = [tuple(tokenizer(piece, add_special_tokens=False)["input_ids"]) for piece in pieces]
    return Prompt(tuple(ids), tuple(clips))


def harmless(text: str) -> str:
    """A text that cannot pass for special tokens, whatever was typed."""
    return _SPECIAL.sub("< ", text)
