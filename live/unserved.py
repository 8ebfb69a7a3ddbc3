"""Fields of the Realtime API that are not served here: refused by name, never ignored."""

from typing import Any

from pydantic import BaseModel

from live.protocol import RATE, ProtocolError

_NO_TOOLS = "Engines here use no tools."
_ENGINES_EARS = "The engine's own recognizer is used"

#: By place, in a session or a response: the values that change nothing, and why others do not
#: work. None never changes anything: whatever it would turn off is off.
UNSERVED: dict[str, tuple[tuple[Any, ...], str]] = {
    "conversation": (("auto",), "There is one conversation, and every answer belongs to it."),
    "include": (([],), "There is nothing to include: no engine here gives log probabilities."),
    "input": ((), "An answer is always to the conversation. Create items instead."),
    "parallel_tool_calls": ((True, False), _NO_TOOLS),
    "prompt": ((), "There are no stored prompts here. Use instructions."),
    "reasoning": ((), "No engine here reasons by a set effort."),
    "tool_choice": (("auto", "none"), _NO_TOOLS),
    "tools": (([],), _NO_TOOLS),
    "tracing": ((), "There are no traces here."),
    "truncation": (("auto",), "Set history_limit with parley.configure."),
    "audio.input.noise_reduction": ((), "The microphone's own noise reduction is used, or none."),
    "audio.input.transcription.delay": ((), f"{_ENGINES_EARS}; it is not delayed."),
    "audio.input.transcription.keywords": (([],), f"{_ENGINES_EARS}; it takes no keywords."),
    "audio.input.transcription.languages": (([],), "Set one language, or none to detect it."),
    # Clients name one without being asked to; what recognizes is told in `parley.engine`.
    "audio.input.transcription.model": (
        ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"),
        f"{_ENGINES_EARS}; leave this out.",
    ),
    "audio.input.transcription.prompt": (("",), f"{_ENGINES_EARS}; it takes no prompt."),
    "audio.input.turn_detection.idle_timeout_ms": ((), "Nobody is answered who said nothing."),
    "audio.output.speed": ((1,), "Speech comes at its own speed. Play it faster or slower."),
}
#: What the server says of a session, and a client that sends it back does not mean.
ECHOED = ("id", "object")


def refuse_unserved(given: BaseModel, place: str) -> None:
    """Check that a session or a response asks for nothing that is not served, or not known.

    Args:
        given: As it was read.
        place: What it is called in the event.

    Raises:
        ProtocolError: If it does; it names the field.
    """
    _refuse_unknown(given, place)
    for path, (harmless, why) in UNSERVED.items():
        value: Any = given
        for name in path.split("."):
            value = getattr(value, name, None)
        if value is not None and value not in harmless:
            field = f"{place}.{path}"
            raise ProtocolError(f"{field}: {why}", "unsupported_value", param=field)


def check_format(given: Any, place: str) -> None:
    """Check that a format is the one that is spoken here.

    Raises:
        ProtocolError: If it is another one.
    """
    if given is None:
        return
    if given.type not in (None, "audio/pcm") or getattr(given, "rate", None) not in (None, RATE):
        raise ProtocolError(
            f"Audio here is PCM16 at {RATE} Hz, nothing else.", "invalid_value", param=place
        )


def _refuse_unknown(given: BaseModel, place: str) -> None:
    for name in given.model_extra or ():
        if (place, name) not in {("session", echoed) for echoed in ECHOED}:
            field = f"{place}.{name}"
            raise ProtocolError(f"There is no {field}.", "unknown_parameter", param=field)
    for name in given.model_fields_set:
        value = getattr(given, name)
        # Of formats, everything but one is refused in any case (`check_format`).
        if isinstance(value, BaseModel) and name != "format":
            _refuse_unknown(value, f"{place}.{name}")
