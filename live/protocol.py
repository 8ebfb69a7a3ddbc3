"""The events of the OpenAI Realtime API, read and checked, and our own beside them.

Source: https://platform.openai.com/docs/api-reference/realtime; the shapes are
those of the `openai` package, so what its client sends is what is read here.
"""

import base64
import json
import secrets
from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from openai.types.realtime import RealtimeClientEvent
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    Tag,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from engines.base import BLOCKS
from engines.images import MOST_BYTES, Image
from errors import InputError, ParleyError

#: The only format on the wire: PCM16, little-endian, mono, at this rate (Hz).
RATE = 24_000
PCM = {"type": "audio/pcm", "rate": RATE}
#: How an image on the wire begins.
DATA_URLS = ("data:image/jpeg;base64", "data:image/png;base64", "data:image/jpg;base64")

Emit = Callable[[dict[str, Any]], None]
"""Queues an event for the client; never waits."""
#: Longest message of an error (it may repeat a client's own words), and longest id of an event.
MOST_MESSAGE, MOST_ID = 500, 512
#: The same for the name of an event, so that the message is a whole sentence.
MOST_NAME = 100

Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Own(BaseModel):
    """An event of our own."""

    event_id: str | None = None


class Playhead(Own):
    """How much of a reply has been played."""

    type: Literal["parley.playhead"]
    item_id: str
    audio_ms: Milliseconds


class Played(Own):
    """The first sample of a reply reached the loudspeaker, `latency_ms` after it was received."""

    type: Literal["parley.played"]
    response_id: str
    latency_ms: Milliseconds


#: Longest word on how to speak, key, or name of a model, characters.
MOST_STYLE = 1000


class Configure(Own):
    """Settings OpenAI has no field for; None leaves one as it is."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["parley.configure"]
    interrupt_after_ms: int | None = Field(None, ge=0, le=2000)
    echo_grace_ms: int | None = Field(None, ge=0, le=5000)
    hold_ms: int | None = Field(None, ge=200, le=8000)
    vad: Literal["silero", "webrtc"] | None = None
    threshold: float | None = Field(None, ge=0.05, le=0.95)
    min_speech_ms: int | None = Field(None, ge=30, le=2000)
    padding_ms: int | None = Field(None, ge=0, le=2000)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    block: int | None = None
    history_limit: int | None = Field(None, ge=0, le=200)
    images_in_history: StrictBool | None = None
    style: str | None = Field(None, max_length=MOST_STYLE)
    key: str | None = Field(None, max_length=MOST_STYLE, repr=False)
    chat_model: str | None = Field(None, max_length=MOST_STYLE)
    engine: str | None = Field(None, max_length=MOST_STYLE)

    @field_validator("block")
    @classmethod
    def _check_block(cls, value: int | None) -> int | None:
        if value and value not in BLOCKS:
            raise ValueError(
                f"a block has {', '.join(map(str, BLOCKS))} codes; 0: the engine's own"
            )
        return value


class CameraFrame(Own):
    """What the camera sees now: a JPEG in base64."""

    type: Literal["parley.camera"]
    image: str


OwnEvent = Playhead | Played | Configure | CameraFrame


def _kind(event: Any) -> str:
    name = event.get("type") if isinstance(event, dict) else None
    return "own" if str(name).startswith("parley.") else "openai"


_CLIENT_EVENT: TypeAdapter[Any] = TypeAdapter(
    Annotated[
        Annotated[RealtimeClientEvent, Field(discriminator="type"), Tag("openai")]
        | Annotated[OwnEvent, Field(discriminator="type"), Tag("own")],
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
        One of the models in `openai.types.realtime.RealtimeClientEvent`, or an `OwnEvent`.

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
        problem = _cause(error)
        if problem["type"].startswith("union_tag"):
            name = repr(event.get("type"))
            raise ProtocolError(
                f"There is no event {_shortened(name, MOST_NAME)}.",
                "unknown_event",
                event_id=event_id,
                param="type",
            ) from error
        param = _place(problem, event)
        raise ProtocolError(
            f"{param}: {problem['msg']}", "invalid_event", event_id=event_id, param=param
        ) from error


def _cause(error: ValidationError) -> Any:
    """The first problem that is not just another kind of object being tried."""
    problems = error.errors(include_url=False, include_input=False)
    others = [
        problem["loc"][:-1]
        for problem in problems
        if problem["type"] == "literal_error" and problem["loc"][-1] in ("type", "role")
    ]
    for problem in problems:
        if not any(problem["loc"][: len(other)] == other for other in others):
            return problem
    return problems[0]


def _place(problem: Any, event: Any) -> str:
    """Where in the event a problem is; pydantic's place also names the types it tried."""
    place: list[str] = []
    for part in problem["loc"]:
        if (isinstance(event, dict) and part in event) or (
            isinstance(event, list) and isinstance(part, int)
        ):
            event = event[part]
        elif problem["type"] != "missing" or part != problem["loc"][-1]:
            continue
        place.append(str(part))
    return ".".join(place)


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


def read_image(text: str, place: str, most: int = MOST_BYTES) -> Image:
    """A data URL, or base64 alone, to an image.

    Args:
        text: `data:image/jpeg;base64,...`, or what follows the comma.
        place: The field it came in.
        most: Bytes it may have.

    Raises:
        ProtocolError: If it is an address of the web, no base64, no JPEG or PNG, or too big.
    """
    head, comma, body = text.partition(",")
    if text[:5].lower() == "http:" or text[:6].lower() == "https:":
        raise ProtocolError(
            "Nothing is fetched from addresses here. Send the image itself, as "
            "data:image/jpeg;base64,...",
            "invalid_image",
            param=place,
        )
    if not comma:
        head, body = DATA_URLS[0], text
    if head.lower() not in DATA_URLS:
        raise ProtocolError(
            f"An image begins with {' or '.join(DATA_URLS[:2])}, not with {head[:40]!r}.",
            "invalid_image",
            param=place,
        )
    too_big = ProtocolError(
        f"This image is too big; the limit is {most:,} bytes.", "image_too_big", param=place
    )
    # Not even decoded, unless it may just fit: two bytes of the last group can be padding.
    if len(body) // 4 * 3 - 2 > most:
        raise too_big
    try:
        data = base64.b64decode(body, validate=True)
    except ValueError as error:  # Also what is not even ASCII.
        raise ProtocolError(f"This is no base64: {error}", "invalid_image", param=place) from error
    if len(data) > most:
        raise too_big
    try:
        return Image(data)
    except InputError as error:
        raise ProtocolError(str(error), "invalid_image", param=place) from error


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
