"""What the model is shown: ChatML, with speech in it.

The wording is that of the models' training; another one works badly. Without a system message
there is none: Qwen's default one ("You are Qwen ...") is not put in.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from engines.vita_audio.vocabulary import Vocabulary
from errors import InputError

_RECOGNISE = "Convert the speech to text."
_READ_ALOUD = "Convert the text to speech."
_INTERLEAVE = "Respond in a text-audio interleaved manner."
_VOICE = "Your Voice: "


@dataclass(frozen=True, slots=True)
class Codes:
    """Speech as codes; each has a token of its own."""

    codes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """Speech as rows of an encoder, which take the place of embeddings."""

    count: int


Speech = Codes | Rows
Content = tuple[str | Speech, ...]


@dataclass(frozen=True, slots=True)
class Persona:
    """Whom the model plays when it speaks.

    Attributes:
        name: Its name.
        gender: `male` or `female`, as in training.
        gap: What stands before the request to speak: the published scripts leave a line
            empty, the demo and the evaluation do not.
    """

    name: str = "Luke"
    gender: str = "male"
    gap: Literal["\n", "\n\n"] = "\n\n"

    @property
    def instructions(self) -> str:
        """The system message that asks for a reply in text and speech."""
        return f"Your Name: {self.name}\nYour Gender: {self.gender}{self.gap}{_INTERLEAVE}"


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message; `content` are texts and clips in their order."""

    role: Literal["system", "user", "assistant"]
    content: Content


@dataclass(frozen=True, slots=True)
class Prompt:
    """Ids for the model.

    Attributes:
        ids: All of them, with a token in the place of each row of an encoder.
        places: Where the rows of each clip go, in the order of the clips in the prompt.
    """

    ids: tuple[int, ...]
    places: tuple[range, ...] = ()


def recognition(speech: Speech) -> tuple[ChatMessage, ...]:
    """Ask for the words of a clip."""
    return (ChatMessage("user", (f"{_RECOGNISE}\n", speech)),)


def reading(text: str, voice: Speech | None = None) -> tuple[ChatMessage, ...]:
    """Ask for a text to be spoken, after a voice if there is one."""
    asked = ChatMessage("user", (f"{_READ_ALOUD}\n{text}",))
    return (asked,) if voice is None else (_voice(voice), asked)


def dialogue(
    question: Content,
    *,
    history: Iterable[ChatMessage] = (),
    instructions: str = "",
    voice: Speech | None = None,
) -> tuple[ChatMessage, ...]:
    """Ask something, after what was said before.

    Args:
        question: See `question_of`.
        history: Messages of user and assistant, oldest first.
        instructions: The system message; empty: none.
        voice: Takes the place of the persona, as in training; the clip stands before all others.
    """
    if voice is not None:
        system: tuple[ChatMessage, ...] = (_voice(voice, instructions),)
    else:
        system = (ChatMessage("system", (instructions,)),) if instructions else ()
    return (*system, *history, ChatMessage("user", question))


def question_of(text: str, speech: Speech | None) -> Content:
    """The content of a question: a text, a clip after a line break, or both."""
    return (text,) if speech is None else (f"{text}\n", speech)


def interleaved(instructions: str) -> str:
    """The user's own instructions, with the request to speak."""
    return f"{instructions}\n{_INTERLEAVE}"


def _voice(voice: Speech, instructions: str = "") -> ChatMessage:
    return ChatMessage("system", (_VOICE, voice, f"\n{instructions}"))


def encode(vocabulary: Vocabulary, messages: Sequence[ChatMessage]) -> Prompt:
    """Render messages and what begins the reply.

    Raises:
        InputError: If a code does not exist.
    """
    ids: list[int] = []
    places = []
    for message in messages:
        ids.append(vocabulary.turn)
        text = f"{message.role}\n"
        # Only special tokens cut a text: pieces of it would be other tokens than the whole.
        for part in message.content:
            if isinstance(part, str):
                text += part
                continue
            ids += (*vocabulary.encode(text), vocabulary.begin)
            text = ""
            if isinstance(part, Rows):
                assert vocabulary.context is not None
                places.append(range(len(ids), len(ids) + part.count))
                ids += [vocabulary.context] * part.count
            else:
                ids += _tokens(vocabulary, part)
            ids.append(vocabulary.end)
        ids += (*vocabulary.encode(text), vocabulary.turn_end, *vocabulary.encode("\n"))
    ids += (vocabulary.turn, *vocabulary.encode("assistant\n"))
    return Prompt(tuple(ids), tuple(places))


def _tokens(vocabulary: Vocabulary, speech: Codes) -> list[int]:
    wrong = [code for code in speech.codes if not 0 <= code < vocabulary.codes]
    if wrong:
        raise InputError(f"{wrong[0]} is no code; they go from 0 to {vocabulary.codes - 1}.")
    return [vocabulary.first_code + code for code in speech.codes]
