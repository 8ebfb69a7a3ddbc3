"""What engines check of a request before they begin, in the same words."""

from engines.base import EngineInfo, Reference
from engines.messages import Turn
from errors import InputError


def chosen_voice(info: EngineInfo, voice: str | Reference | None) -> str | Reference:
    """The voice that a request asks for.

    Args:
        info: Of the engine.
        voice: As it was asked for; None takes the engine's first.

    Raises:
        InputError: If the engine has no such voice, or takes no references.
    """
    if isinstance(voice, Reference):
        if info.reference is None:
            raise InputError(info.unmatched)
        return voice
    names = [own.name for own in info.voices]
    if voice is not None and voice not in names:
        raise InputError(f"There is no voice {voice!r}. Voices: {', '.join(names)}.")
    return names[0] if voice is None else voice


def check_turn(info: EngineInfo, turn: Turn) -> None:
    """Check that a turn can be answered.

    Args:
        info: Of the engine; to one that cannot see, an image is no question.
        turn: What the user said and shows.

    Raises:
        InputError: If there is nothing in it.
    """
    silent = turn.audio is None and not turn.text.strip()
    if silent and not (info.can_see and turn.seen):
        raise InputError("There is nothing to answer. Say or type something first.")
