"""What goes wrong with a server, in words for people, and whether to try again."""

import json
from collections.abc import Mapping
from typing import Any

import httpx2
import openai
from websockets.exceptions import ConnectionClosed, InvalidStatus

from errors import EngineError, InputError, ParleyError, UnavailableError

#: What a server says of itself is shown up to this length, characters.
LONGEST_QUOTE = 300
#: How servers name a prompt that is too long: OpenAI and vLLM, llama.cpp, others.
TOO_LONG = ("context_length_exceeded", "exceed_context_size", "maximum context length")
TOO_LONG_WORDS = (
    "context length",
    "context size",
    "context window",
    "too many tokens",
    "prompt is too long",
)
_KEY, _UNKNOWN, _BUSY, _BROKEN = (401, 403), 404, 429, 500


class RemoteError(Exception):
    """A request that failed before anything came of it.

    Attributes:
        error: What to tell people.
        elsewhere: Another address may do better.
        again: So may the same one, a little later.
        after: Seconds that the server asks to wait.
        refused: What the server says of a request that it does not take.
        too_long: The prompt is.
        unknown: Model or address.
    """

    def __init__(
        self,
        error: ParleyError,
        *,
        elsewhere: bool = False,
        again: bool = False,
        after: float = 0.0,
        refused: str = "",
        too_long: bool = False,
        unknown: bool = False,
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.elsewhere = elsewhere
        self.again = again
        self.after = after
        self.refused = refused
        self.too_long = too_long
        self.unknown = unknown


def understood(
    error: Exception, where: str, key: str, timeout: float, *, begun: bool = False
) -> RemoteError:
    """What an exception of the client means.

    Args:
        error: The exception.
        where: The address, as it may be shown.
        key: The key that was sent; never part of a message.
        timeout: Seconds after which nothing came.
        begun: Part of the answer was there.
    """
    if isinstance(error, openai.APIStatusError | InvalidStatus):
        return _by_status(error, where, key)
    if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException | TimeoutError):
        told = f"The server at {where} did not answer within {timeout:.0f} s. It may be busy."
        return RemoteError(UnavailableError(told), elsewhere=True)
    if isinstance(error, openai.APIConnectionError | httpx2.HTTPError | ConnectionClosed | OSError):
        if begun:
            return RemoteError(EngineError(f"The connection to {where} broke."))
        told = f"No server answers at {where}. Start it, or correct the address."
        return RemoteError(UnavailableError(told), elsewhere=True, again=True)
    # What comes amid a stream has no status.
    if type(error) is openai.APIError:
        return _amid(error, where, _quoted(error, key))
    return malformed(where)


def malformed(where: str) -> RemoteError:
    """The server speaks another language."""
    told = (
        f"The server at {where} sent something that is no answer of an OpenAI-style API. "
        "Is the address right? It usually ends in /v1."
    )
    return RemoteError(EngineError(told))


def _refusal(
    status: int, where: str, quoted: str, *, field: str = "", after: float = 0.0
) -> RemoteError:
    """What an HTTP status means, where no more is known.

    Args:
        status: 400 and up.
        where: The address, as it may be shown.
        quoted: What the server says, with the punctuation before it.
        field: Of the request, that is wrong.
        after: Seconds that the server asks to wait.
    """
    if status in _KEY:
        # Servers quote part of the key, so they are not quoted.
        told: ParleyError = UnavailableError(
            f"The server at {where} refuses the API key. Set the right one in the settings of "
            "this session, or in the environment."
        )
    elif status == _UNKNOWN:
        told = UnavailableError(
            f"The server at {where} knows no such model, or the address is not that of its API "
            "(it usually ends in /v1)."
        )
    elif status == _BUSY:
        told = UnavailableError(
            f"The server at {where} has too much to do, or your quota is used up{quoted}"
        )
    elif status >= _BROKEN:
        told = EngineError(f"The server at {where} failed with status {status}{quoted}")
    else:
        told = InputError(f"The server at {where} refuses this{quoted}")
    later = status == _BUSY or status >= _BROKEN
    return RemoteError(
        told,
        elsewhere=later,
        again=later,
        after=after if later else 0.0,
        refused=f"{field} {quoted}" if isinstance(told, InputError) else "",
        unknown=status == _UNKNOWN,
    )


def _by_status(error: openai.APIStatusError | InvalidStatus, where: str, key: str) -> RemoteError:
    if isinstance(error, InvalidStatus):  # Of a WebSocket that was not let in.
        return _refusal(error.response.status_code, where, ".")
    status, quoted = error.status_code, _quoted(error, key)
    if status not in (*_KEY, _UNKNOWN, _BUSY) and _is_too_long(error.body, quoted):
        return _too_long(where, quoted)
    return _refusal(status, where, quoted, field=error.param or "", after=_after(error))


def _amid(error: openai.APIError, where: str, quoted: str) -> RemoteError:
    if _is_too_long(error.body, quoted):
        return _too_long(where, quoted)
    return RemoteError(EngineError(f"The server at {where} failed{quoted}"), elsewhere=True)


def _too_long(where: str, quoted: str) -> RemoteError:
    told = (
        f"This is too long for the chat model at {where}{quoted} "
        "Shorten the text, or the system prompt."
    )
    return RemoteError(InputError(told), too_long=True)


def _is_too_long(body: object, quoted: str) -> bool:
    details = json.dumps(body, default=str) if body else ""
    return any(word in details for word in TOO_LONG) or any(
        word in quoted.lower() for word in TOO_LONG_WORDS
    )


def _after(error: openai.APIStatusError) -> float:
    try:
        return max(0.0, float(error.response.headers.get("retry-after", 0)))
    except ValueError:  # It may be a date; nobody sends one here.
        return 0.0


def _quoted(error: openai.APIError, key: str) -> str:
    """What the server says, after a colon, without the key; a full stop if it says nothing."""
    body: Any = error.body
    said = body.get("message") or body.get("detail") if isinstance(body, Mapping) else body
    text = " ".join(str(said or "").split())
    if key:
        text = text.replace(key, "[key]")
    if not text:
        return "."
    if len(text) > LONGEST_QUOTE:
        text = text[:LONGEST_QUOTE] + "…"
    return f": {text}" if text.endswith((".", "!", "?", "…")) else f": {text}."
