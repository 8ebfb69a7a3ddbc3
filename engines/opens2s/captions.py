"""Which words a stretch of speech says; needed to know what was heard before an interruption.

Units tell nothing of words, and the text runs ahead of the speech. So this is an estimate from
the usual pace of speech: right to a word or two at the beginning, and at the end.
"""

import re
import threading

#: Words with the space after them; of scripts that are written without spaces, characters.
_WORDS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]\s*|[^\s\u3040-\u30ff\u3400-\u9fff]+\s*|\s+")
#: Seconds that a character takes: 150 words, or 270 Chinese characters, a minute.
_LETTER, _IDEOGRAPH = 0.067, 0.22


class Captions:
    """The text of one reply on its way to being spoken; two threads may be at it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unspoken = ""
        self._due = 0.0

    def write(self, text: str) -> None:
        """Add text that will be spoken."""
        with self._lock:
            self._unspoken += text

    def speak(self, seconds: float) -> str:
        """The words of the next so many seconds."""
        with self._lock:
            self._due += seconds
            end = 0
            for word in _WORDS.finditer(self._unspoken):
                takes = len(word[0]) * (_IDEOGRAPH if word[0][0] >= "\u3040" else _LETTER)
                if takes > self._due:
                    break
                self._due -= takes
                end = word.end()
            else:
                self._due = 0.0  # It waits for text: no time is saved up for what comes later.
            spoken, self._unspoken = self._unspoken[:end], self._unspoken[end:]
            return spoken

    def rest(self) -> str:
        """All words that are left, at the end of the speech."""
        with self._lock:
            spoken, self._unspoken = self._unspoken, ""
            return spoken
