"""Reasoning that a model writes into its answer, kept out of what is said."""

import re

_OPEN = re.compile(r"<(think|thinking|reasoning)>")
_TAGS = tuple(
    f"<{slash}{name}>" for name in ("think", "thinking", "reasoning") for slash in ("", "/")
)


class ReasoningFilter:
    """Lets through what is no reasoning; tags may be cut anywhere between two deltas.

    Args:
        open_at_first: The answer begins with reasoning and lacks the opening tag, as with
            chat templates that write it themselves (DeepSeek-R1, Qwen3-Thinking).
    """

    def __init__(self, *, open_at_first: bool = False) -> None:
        self._end: re.Pattern[str] | None = (
            re.compile(r"</(think|thinking|reasoning)>") if open_at_first else None
        )
        self._held = ""
        self._skips_space = False

    def feed(self, delta: str) -> str:
        """Take more of the answer; gives what of it is to be said."""
        self._held += delta
        said = ""
        while True:
            if self._end is not None:
                found = self._end.search(self._held)
                if found is None:
                    # What comes before is lost anyway, but not the beginning of the tag.
                    self._held = self._held[-max(map(len, _TAGS)) :]
                    return said
                self._end, self._skips_space = None, True
            else:
                found = _OPEN.search(self._held)
                if found is None:
                    return said + self._safe()
                said += self._passed(self._held[: found.start()])
                self._end = re.compile(f"</{found[1]}>")
            self._held = self._held[found.end() :]

    def finish(self) -> str:
        """The answer is over."""
        rest, self._held = self._held, ""
        return "" if self._end is not None else self._passed(rest)

    def _safe(self) -> str:
        """All that is held but what may be the beginning of a tag."""
        start = self._held.rfind("<")
        if start < 0 or not any(tag.startswith(self._held[start:]) for tag in _TAGS):
            start = len(self._held)
        said, self._held = self._held[:start], self._held[start:]
        return self._passed(said)

    def _passed(self, text: str) -> str:
        if self._skips_space:
            text = text.lstrip()
            self._skips_space = not text
        return text
