"""What token ids stand for: text, ends, and the marks that a reply begins with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream
from transformers import Qwen2Tokenizer

from codec.checkpoint import CheckpointError, require

#: The first token of a reply: a spoken question is answered, a typed one is answered, and what
#: was heard was meant for nobody here (noise, others talking).
State = Literal["☞", "☜", "☟"]
HEARD: State = "☞"
READ: State = "☜"
IGNORED: State = "☟"

_ENDS = ("<|im_end|>", "<|endoftext|>")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokenizer, and the ids that mean something to this model.

    Attributes:
        tokenizer: Qwen2.5's.
        marks: Ids of the states.
        ends: Ids that end a reply.
    """

    tokenizer: Tokenizer
    marks: dict[int, State]
    ends: frozenset[int]

    @property
    def size(self) -> int:
        """Tokens there are; rows of the model's tables beyond were never trained."""
        return self.tokenizer.get_vocab_size(with_added_tokens=True)

    @classmethod
    def load(cls, folder: Path, rows: int) -> "Vocabulary":
        """Read the tokenizer of a snapshot: `tokenizer.json`, or `vocab.json` and `merges.txt`.

        Args:
            folder: Holds it.
            rows: Of the model's tables.

        Raises:
            CheckpointError: If it is absent or damaged, or lacks a token that is needed.
        """
        tokenizer = _read(folder)
        marks = {}
        for mark in (HEARD, READ, IGNORED):
            ids = tokenizer.encode(mark, add_special_tokens=False).ids
            if len(ids) != 1:
                raise CheckpointError(
                    f"{folder}: the tokenizer has no single token for {mark}, with which a reply "
                    "begins."
                )
            marks[ids[0]] = mark
        found = map(tokenizer.token_to_id, _ENDS)
        ends = frozenset(number for number in found if number is not None)
        if len(ends) < len(_ENDS):
            raise CheckpointError(f"{folder}: the tokenizer has no {' or no '.join(_ENDS)}.")
        made = cls(tokenizer, marks, ends)
        if made.size > rows:
            raise CheckpointError(
                f"{folder}: the tokenizer has {made.size} tokens, the model only {rows} rows. Do "
                "they belong together?"
            )
        return made

    def encode(self, text: str) -> list[int]:
        """Ids of a text; special tokens in it are taken for what they are."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids


class Writing:
    """Turns the tokens of one reply into text; a character comes once it is whole.

    Args:
        vocabulary: What ids stand for.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._tokenizer = vocabulary.tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)

    def push(self, token: int) -> str:
        """The text that became certain."""
        return self._stream.step(self._tokenizer, token) or ""


def _read(folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    try:
        if path.is_file():
            return Tokenizer.from_file(str(path))
        require(folder, ("vocab.json", "merges.txt"))
        made: Any = Qwen2Tokenizer.from_pretrained(folder, local_files_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # Whatever a damaged file makes the libraries raise.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{folder}: the tokenizer cannot be read: {reason}") from error
    backend: Tokenizer = made.backend_tokenizer
    return backend
