"""Text as its tokens are made."""

from typing import Any

#: What stands for a character of which only some bytes are there.
_BROKEN = "\ufffd"
#: Tokens that one character can be spread over, and some more.
_MOST = 8


class TextStream:
    """Turns the tokens of one reply into text; a character comes once it is whole.

    Args:
        tokenizer: Of byte-level pairs, so that text joins where tokens do.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._pending: list[int] = []

    def push(self, token: int) -> str:
        """Take a token, give the text that became certain; special tokens have none."""
        self._pending.append(token)
        text = self._decode()
        if text.endswith(_BROKEN) and len(self._pending) < _MOST:
            return ""
        self._pending = []
        return text

    def finish(self) -> str:
        """What is left: a broken character, or nothing."""
        text, self._pending = self._decode(), []
        return text

    def _decode(self) -> str:
        text: str = self._tokenizer.decode(
            self._pending, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text
