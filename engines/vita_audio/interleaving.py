"""Taking a reply apart, as it is made: text for the screen, codes for the decoder.

A reply is text, then `<|begin_of_audio|>`, codes, `<|end_of_audio|>`, then text again, and so on.
Models do not always keep to that: what an id is, it says itself, so a mark that is absent or
stands in the wrong place loses nothing.
"""

from dataclasses import dataclass

from tokenizers.decoders import DecodeStream

from engines.vita_audio.vocabulary import Vocabulary
from errors import EngineError


@dataclass(frozen=True, slots=True)
class Text:
    """More of the text."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """The next code of the speech."""

    code: int


class Interleaving:
    """One reply.

    Args:
        vocabulary: What ids stand for.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        # Keeps the bytes of a character until its last token has come, be there codes between.
        self._text = DecodeStream(skip_special_tokens=True)

    def take(self, token: int) -> Text | Code | None:
        """What a token adds; None if nothing (yet).

        Raises:
            EngineError: If the token stands for nothing.
        """
        code = self._vocabulary.code(token)
        if code is not None:
            return Code(code)
        if not 0 <= token < self._vocabulary.first_code:
            last = self._vocabulary.first_code + self._vocabulary.codes - 1
            raise EngineError(
                f"The model wrote {token}, which stands for nothing: the last code is {last}. "
                "Are its weights whole?"
            )
        text = self._text.step(self._vocabulary.tokenizer, token)
        return Text(text) if text else None
