"""Characters that cannot be spoken or seen, taken out of a text."""

import re
import unicodedata

import emoji


def visible(text: str) -> str:
    """Text without characters that have no look of their own.

    Control characters, zero-width characters, marks of direction and private
    characters go; full-width forms, styled letters and digits of other scripts
    become plain; every white space becomes a space or a line break.
    """
    out = []
    for char in unicodedata.normalize("NFC", text):
        kind = unicodedata.category(char)
        if char.isspace() or char == "\u2028":
            out.append("\n" if char in "\n\u2028\u2029" else " ")
        elif char.isascii():
            out.append(char if kind != "Cc" else "")
        elif kind == "Nd":
            out.append(str(unicodedata.digit(char)))
        elif _is_styled(char):
            out.append(unicodedata.normalize("NFKC", char))
        elif kind[0] != "C" or char == "\u200d":
            # The zero-width joiner goes with its emoji, below.
            out.append(char)
    return "".join(out)


def _is_styled(char: str) -> bool:
    """Whether a character is a plain one in another shape: "Ａ", "𝑥", "ﬁ", "℃", "№"."""
    return (
        "\uff01" <= char <= "\uff5e"
        or "\U0001d400" <= char <= "\U0001d7ff"
        or "\ufb00" <= char <= "\ufb06"
        or char in "℃℉№㎞㎏㎝㎡"
    )


def without_emoji(text: str) -> str:
    """Text with a space for each emoji; "1️⃣" stays "1"."""
    text = re.sub(r"([0-9#*])\ufe0f?\u20e3", r"\1", text)
    # The package counts these among the emoji, but they have words.
    text = text.replace("©", " copyright ").replace("®", "").replace("™", "")
    text = re.sub("[↔↕]\ufe0f?", "↔", text)
    kept = text.split("↔")
    return "↔".join(emoji.replace_emoji(part, " ") for part in kept).replace("\u200d", "")
