"""The prompt: what was said and shown, in ChatML, with places for what encoders make.

The text between two places is tokenized by itself, as in the published code; that decides on
tokens at the borders. Places are made by structure: a typed "<image>" is only text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from engines.cascade.prompts import as_text
from engines.vita.vocabulary import Vocabulary

Role = Literal["user", "assistant"]
Sight = Literal["nothing", "image", "video"]

_SYSTEM = (
    "You are an AI robot and your name is VITA. \n"
    "- You are a multimodal large language model developed by the open source community. Your aim "
    "is to be helpful, honest and harmless. \n"
    "- You support the ability to communicate fluently and answer user questions in multiple "
    "languages of the user's choice. \n"
    "- If the user corrects the wrong answer you generated, you will apologize and discuss the "
    "correct answer with the user."
)
_SEEING = (
    " \n- You must answer the question strictly according to the content of the {what} given by "
    "the user, and it is strictly forbidden to answer the question without the content of the "
    "{what}. Please note that you are seeing the {what}, not the {other}."
)

#: What the model was told before all else, by what it is shown. Part of the model's interface.
SYSTEM: dict[Sight, str] = {
    "nothing": _SYSTEM,
    "image": _SYSTEM + _SEEING.format(what="image", other="video"),
    "video": _SYSTEM + _SEEING.format(what="video", other="image"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where rows of an encoder stand in a prompt.

    Attributes:
        kind: "tile" (of an image, or a moment of a video) or "clip".
        rows: How many.
    """

    kind: Literal["tile", "clip"]
    rows: int


@dataclass(frozen=True, slots=True)
class Said:
    """A message of the dialogue.

    Attributes:
        role: Whose.
        text: Typed, or written by the model; comes between tiles and clips.
        tiles: Shown with it.
        clips: Said.
        mark: State of an answer; the model's own begin with one.
    """

    role: Role
    text: str = ""
    tiles: tuple[Place, ...] = ()
    clips: tuple[Place, ...] = ()
    mark: str = ""

    def parts(self) -> Iterator[str | Place]:
        """Its content in the order of the prompt."""
        yield from self.tiles
        yield ("\n" if self.tiles else "") + self.mark + as_text(self.text)
        yield from self.clips


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model reads.

    Attributes:
        ids: Tokens; 0 where rows of an encoder stand.
        tiles: Where those of each tile begin.
        clips: Where those of each clip begin.
    """

    ids: tuple[int, ...]
    tiles: tuple[int, ...]
    clips: tuple[int, ...]


def render(said: Sequence[Said], sight: Sight, instructions: str = "") -> Iterator[str | Place]:
    """The dialogue in ChatML, ready for the model's answer.

    Args:
        said: The last one is the user's.
        sight: What the model is shown.
        instructions: Of the user's own; they come after the model's.
    """
    own = f"\n{as_text(instructions)}" if instructions else ""
    yield f"<|im_start|>system\n{SYSTEM[sight]}{own}<|im_end|>\n"
    for message in said:
        yield f"<|im_start|>{message.role}\n"
        yield from message.parts()
        yield "<|im_end|>\n"
    yield "<|im_start|>assistant\n"


def encode(parts: Iterator[str | Place], vocabulary: Vocabulary) -> Prompt:
    """Tokens of a prompt, and where in it the encoders' rows stand."""
    ids: list[int] = []
    begins: dict[str, list[int]] = {"tile": [], "clip": []}
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        ids += vocabulary.encode(text)
        text = ""
        begins[part.kind].append(len(ids))
        ids += [0] * part.rows
    ids += vocabulary.encode(text)
    return Prompt(tuple(ids), tuple(begins["tile"]), tuple(begins["clip"]))
