"""Names and texts of voices: any script, nothing that hides, one voice a name."""

import unicodedata
from collections.abc import Collection

from errors import InputError

#: Longer names break every list they are shown in, characters.
LONGEST_NAME = 60
#: Zero-width joiners shape the letters around them in Persian and in the scripts of India.
JOINERS = "\u200c\u200d"


def checked_name(name: str) -> str:
    """A name as it is stored: composed characters, single spaces.

    Raises:
        InputError: If it is empty or too long, or has characters that cannot be seen,
            turn the direction of the text, or mean something in a path.
    """
    name = " ".join(unicodedata.normalize("NFC", name).split())
    if not name:
        raise InputError("The voice has no name yet. Give it one.")
    if len(name) > LONGEST_NAME:
        raise InputError(
            f"This name has {len(name)} characters; {LONGEST_NAME} is the limit. Shorten it."
        )
    for place, char in enumerate(name):
        if char in "/\\":
            raise InputError(f"A name of a voice cannot have {char!r} in it. Leave it out.")
        if unicodedata.category(char)[0] == "C" and not _joins(name, place):
            raise InputError(
                f"This name has an invisible character (U+{ord(char):04X}). Type it again by hand."
            )
    if not any(char.isalnum() for char in name):
        raise InputError("The name of a voice needs at least one letter or digit.")
    return name


def name_key(name: str) -> str:
    """What two names have in common that people would take for the same one."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return " ".join("".join(char for char in folded if char not in JOINERS).split())


def numbered(name: str, taken: Collection[str]) -> str:
    """The name, or the first of "name 2", "name 3", ... whose key is not taken."""
    free, number = name, 1
    while name_key(free) in taken:
        number += 1
        suffix = f" {number}"
        free = name[: LONGEST_NAME - len(suffix)].rstrip() + suffix
    return free


def plain_text(text: str, longest: int, what: str) -> str:
    """A text for a record: composed, on one line, nothing invisible.

    Raises:
        InputError: If it is too long.
    """
    composed = unicodedata.normalize("NFC", text)
    kept = "".join(
        " " if char.isspace() else char
        for char in composed
        if char.isspace() or char in JOINERS or unicodedata.category(char)[0] != "C"
    )
    kept = " ".join(kept.split())
    if len(kept) > longest:
        raise InputError(f"{what} has {len(kept)} characters; {longest} is the limit. Shorten it.")
    return kept


def _joins(name: str, place: int) -> bool:
    """Whether the character is a joiner between two letters."""
    if name[place] not in JOINERS or not 0 < place < len(name) - 1:
        return False
    return all(unicodedata.category(name[at])[0] in "LM" for at in (place - 1, place + 1))
