"""The tokenizer of a VITA-Audio checkpoint, and which ids are speech.

Ids differ by one between the models that hear codes and those that hear rows of an encoder, so
none is written here: all are asked for by name.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from codec.checkpoint import CheckpointError, require

#: Byte-level BPE with the added tokens, in one file.
FILE = "tokenizer.json"

TURN, TURN_END, TEXT_END = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
BEGIN, END, CONTEXT = "<|begin_of_audio|>", "<|end_of_audio|>", "<|context_of_audio|>"

_CODE = re.compile(r"<\|audio_(\d+)\|>")

#: Where the name of a token could begin; text is cut there, so that nobody can type one.
_MARK = re.compile(r"(?<=<)(?=\|)")


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """Ids and what they stand for.

    Attributes:
        tokenizer: Of text.
        turn: Begins a message.
        turn_end: Ends a message.
        text_end: Ends a text; some replies end with it.
        begin: Begins a group of codes.
        end: Ends one.
        context: Holds the place of a row of the encoder; None where speech comes in as codes.
        first_code: Id of code 0; the others follow.
        codes: How many codes there are.
        size: Ids that the model can write. Those after the last code stand for nothing.
    """

    tokenizer: Tokenizer
    turn: int
    turn_end: int
    text_end: int
    begin: int
    end: int
    context: int | None
    first_code: int
    codes: int
    size: int

    @staticmethod
    def load(folder: Path, *, size: int, codes: int, continuous: bool) -> "Vocabulary":
        """Read a tokenizer and hold it against the model and the codec.

        Args:
            folder: Holds tokenizer.json.
            size: Rows of the model's embedding.
            codes: Codes of the codec.
            continuous: Whether speech comes in as rows of an encoder.

        Raises:
            CheckpointError: If the file is damaged, tokens of speech are absent, or model,
                tokenizer and codec do not fit each other.
        """
        require(folder, (FILE,))
        path = folder / FILE
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # The library raises nothing more specific.
            raise CheckpointError(f"{path} is damaged, or is no tokenizer: {error}.") from error
        ids = tokenizer.get_vocab(with_added_tokens=True)
        named = (TURN, TURN_END, TEXT_END, BEGIN, END, *((CONTEXT,) if continuous else ()))
        first = _first_code(ids, codes, path)
        if absent := [name for name in named if name not in ids]:
            raise CheckpointError(f"{path} lacks {', '.join(absent)}. Is it VITA-Audio's?")
        if not continuous and CONTEXT in ids:
            raise CheckpointError(
                f"{path} has {CONTEXT}: it is of a VITA-Audio-Plus model, but this one is not."
            )
        highest = max(ids.values())
        if highest >= size:
            raise CheckpointError(
                f"{path} has ids up to {highest}, but the model knows only {size}. "
                "They are not of the same checkpoint."
            )
        return Vocabulary(
            tokenizer=tokenizer,
            turn=ids[TURN],
            turn_end=ids[TURN_END],
            text_end=ids[TEXT_END],
            begin=ids[BEGIN],
            end=ids[END],
            context=ids[CONTEXT] if continuous else None,
            first_code=first,
            codes=codes,
            size=size,
        )

    def encode(self, text: str) -> list[int]:
        """The ids of a text. Names of special tokens in it are letters like any other."""
        return [
            token
            for piece in _MARK.split(text)
            for token in self.tokenizer.encode(piece, add_special_tokens=False).ids
        ]

    def decode(self, ids: list[int]) -> str:
        """The text of ids, with the names of special tokens."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=False)
        return text

    @property
    def stops(self) -> frozenset[int]:
        """Ids that end a reply."""
        return frozenset((self.turn_end, self.text_end))

    @property
    def speech(self) -> tuple[int, int]:
        """First and one past the last id of codes, their marks and the end of a reply."""
        first = min(self.turn_end, self.begin, self.end, self.first_code)
        return first, self.first_code + self.codes

    def code(self, token: int) -> int | None:
        """The code that an id stands for; None if it stands for something else."""
        code = token - self.first_code
        return code if 0 <= code < self.codes else None


def _first_code(ids: dict[str, int], codes: int, path: Path) -> int:
    """The id of code 0, once it is sure that the others follow it."""
    found = {int(match[1]): i for name, i in ids.items() if (match := _CODE.fullmatch(name))}
    if not found:
        raise CheckpointError(
            f"{path} lacks the audio tokens <|audio_0|> to <|audio_{codes - 1}|>. "
            "Is it VITA-Audio's?"
        )
    if sorted(found) != list(range(codes)):
        raise CheckpointError(
            f"{path} has {len(found)} audio tokens up to <|audio_{max(found)}|>, but the speech "
            f"codec has {codes} codes."
        )
    first = found[0]
    if astray := [code for code in sorted(found) if found[code] != first + code]:
        raise CheckpointError(f"{path}: the id of <|audio_{astray[0]}|> is out of order.")
    return first
