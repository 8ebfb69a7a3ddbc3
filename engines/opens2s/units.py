"""Which tokens of the speech model are sounds."""

from pathlib import Path
from typing import Any

from codec.checkpoint import CheckpointError

_FIRST = "<|audio_0|>"


class Units:
    """Tokens of the speech model to codes of the codec.

    Args:
        tokenizer: Of the snapshot's folder `tts`.
        folder: That folder, for errors.
        vocabulary: Size of the speech model's table.

    Attributes:
        first: Token of code 0.
        count: How many codes there are; their tokens follow each other.

    Raises:
        CheckpointError: If the codes have no tokens, or these do not follow each other.
    """

    def __init__(self, tokenizer: Any, folder: Path, vocabulary: int) -> None:
        tokens: dict[str, int] = tokenizer.get_vocab()
        if _FIRST not in tokens:
            raise CheckpointError(
                f"{folder} has no token {_FIRST}: it is not the tokenizer of the speech units. "
                "Fetch the repository's folder tts again."
            )
        self.first = tokens[_FIRST]
        self.count = 1
        while f"<|audio_{self.count}|>" in tokens:
            if tokens[f"<|audio_{self.count}|>"] != self.first + self.count:
                raise CheckpointError(
                    f"{folder}: the token <|audio_{self.count}|> does not follow the one before it."
                )
            self.count += 1
        if self.first + self.count > vocabulary:
            raise CheckpointError(
                f"{folder} has tokens up to {self.first + self.count - 1}, the speech model only "
                f"{vocabulary}. Do they belong together?"
            )

    def code(self, token: int) -> int | None:
        """The code of a token; None for the end of speech and all else that is no sound.

        The reference hands those on to its decoder, where each becomes 80 ms of code 0.
        """
        code = token - self.first
        return code if 0 <= code < self.count else None
