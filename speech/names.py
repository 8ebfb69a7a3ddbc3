"""File names from strangers, made safe."""

import re
import unicodedata

#: File systems take 255 bytes; the rest is left for a prefix of ours.
MAX_BYTES = 180
#: Suffixes longer than this are part of the name.
MAX_SUFFIX = 10
#: Characters with a meaning to a shell, to Windows or to HTML.
_RISKY = re.compile(r'[<>:"|?*&$`\'\\;%{}]')
#: Devices on Windows, with any suffix.
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE)


def safe_name(name: str, default: str = "clip") -> str:
    """A name that is safe to show and to store under.

    Keeps the last part of a path; drops control characters, bidirectional
    overrides and other invisible characters; replaces what a shell, Windows or
    HTML would take for something else; shortens to `MAX_BYTES` of UTF-8 and
    keeps the suffix.

    Args:
        name: Anything.
        default: What to return when nothing is left.
    """
    # First: normalising may make slashes and dots out of other characters.
    name = unicodedata.normalize("NFC", name)
    name = re.split(r"[/\\]", name)[-1]
    name = "".join(
        " " if char.isspace() else char
        for char in name
        if char.isspace() or not unicodedata.category(char).startswith("C")
    )
    name = _RISKY.sub("_", name)
    # Leading dots hide a file, leading dashes look like an option, and Windows
    # drops dots and spaces at the end.
    name = " ".join(name.split()).lstrip(".- ").rstrip(". ")
    if _RESERVED.fullmatch(name):
        name = f"_{name}"
    return _shortened(name) or default


def _shortened(name: str) -> str:
    encoded = name.encode()
    if len(encoded) <= MAX_BYTES:
        return name
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix) > MAX_SUFFIX:
        stem, dot, suffix = name, "", ""
    room = MAX_BYTES - len((dot + suffix).encode())
    # errors="ignore" drops a character that the cut went through.
    return stem.encode()[:room].decode(errors="ignore").rstrip(". ") + dot + suffix
