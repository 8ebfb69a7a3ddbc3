"""The events of the OpenAI Realtime API, read and checked, and our own beside them.

Source: https://platform.openai.com/docs/api-reference/realtime; the shapes are
those of the `openai` package, so what its client sends is what is read here.
"""

import base64
import json
import secrets
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from openai.types.realtime import RealtimeClientEvent
from pydantic import BaseModel, Discriminator, Field, Tag, TypeAdapter, ValidationError

from errors import ParleyError

#: The only format on the wire: PCM16, little-endian, mono, at this rate (Hz).
RATE = 24_000
PCM = {"type": "audio/pcm", "rate": RATE}
#: Longest message of an error (it may repeat a client's own words), and longest id of an event.
MOST_MESSAGE, MOST_ID = 500, 512
#: The same for the name of an event, so that the message is a whole sentence.
MOST_NAME = 100

Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Playhead(BaseModel):
    """How much of a reply has been played."""

    type: Literal["parley.playhead"]
    item_id: str
    audio_ms: Milliseconds


class Played(BaseModel):
    """The first sample of a reply reached the loudspeaker, `latency_ms` after it was received."""

    type: Literal["parley.played"]
    response_id: str
    latency_ms: Milliseconds


def _kind(event: Any) -> str:
    name = event.get("type", "") if isinstance(event, dict) else ""
    return name if name in ("parley.playhead", "parley.played") else "openai"


ClientEvent = RealtimeClientEvent | Playhead | Played
_CLIENT_EVENT: TypeAdapter[Any] = TypeAdapter(
    Annotated[
        Annotated[RealtimeClientEvent, Field(discriminator="type"), Tag("openai")]
        | Annotated[Playhead, Tag("parley.playhead")]
        | Annotated[Played, Tag("parley.played")],
        Discriminator(_kind),
    ]
)


class ProtocolError(ParleyError):
    """What a client sent cannot be taken; it is told, and the connection goes on.

    Attributes:
        code: Short name, as OpenAI's where it has one.
        event_id: The client's own id of the event, if it gave one.
        param: The field at fault.
    """

    def __init__(
        self, message: str, code: str, *, event_id: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.event_id = event_id
        self.param = param


def read(text: str | bytes) -> Any:
    """Parse and check an event of a client.

    Returns:
        One of the models in `openai.types.realtime.RealtimeClientEvent`, `Playhead`
        or `Played`.

    Raises:
        ProtocolError: If it is no JSON, no known event, or has wrong fields.
    """
    try:
        event = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"This is no JSON: {error}", "invalid_json") from error
    if not isinstance(event, dict):
        raise ProtocolError("An event is a JSON object with a type.", "invalid_event")
    given = event.get("event_id")
    event_id = given if isinstance(given, str) else None
    try:
        return _CLIENT_EVENT.validate_python(event)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        if problem["type"].startswith("union_tag"):
            name = repr(event.get("type"))
            raise ProtocolError(
                f"There is no event {_shortened(name, MOST_NAME)}.",
                "unknown_event",
                event_id=event_id,
                param="type",
            ) from error
        # Without the names of types, which are of use to nobody but us.
        place = problem["loc"][1:]
        place = place[1:] if place[:1] == (event["type"],) else place
        param = ".".join(str(part) for part in place if not str(part)[:1].isupper())
        raise ProtocolError(
            f"{param}: {problem['msg']}", "invalid_event", event_id=event_id, param=param
        ) from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _shortened(text: str, most: int = MOST_MESSAGE) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def read_audio(text: str) -> NDArray[np.int16]:
    """Base64 to samples, int16 `[n]`.

    Raises:
        ProtocolError: If it is no base64, or half a sample is missing.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ProtocolError(f"audio: this is no base64: {error}", "invalid_audio") from error
    if len(raw) % 2:
        raise ProtocolError(
            f"audio: PCM16 has two bytes a sample, and {len(raw)} is odd.", "invalid_audio"
        )
    return np.frombuffer(raw, "<i2")


def write_audio(samples: NDArray[np.int16]) -> str:
    """Samples, int16 `[n]`, to base64."""
    return base64.b64encode(samples.astype("<i2").tobytes()).decode("ascii")


def new_id(kind: str) -> str:
    """A fresh id such as `resp_3f...`."""
    return f"{kind}_{secrets.token_hex(10)}"


def event(kind: str, **fields: Any) -> dict[str, Any]:
    """An event of the server."""
    return {"type": kind, "event_id": new_id("event"), **fields}


def error_event(
    message: str,
    code: str,
    *,
    kind: str = "invalid_request_error",
    event_id: str | None = None,
    param: str | None = None,
) -> dict[str, Any]:
    """An error that leaves the connection open."""
    error = {
        "type": kind,
        "code": code,
        "message": _shortened(message),
        "event_id": event_id and event_id[:MOST_ID],
        "param": param and _shortened(param),
    }
    return event("error", error=error)
