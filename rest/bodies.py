"""What comes in: JSON and forms within limits, and fields that are not served."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive

from rest.problems import TOO_LARGE, Problem, unreadable

#: A body of JSON is held in memory: room for spoken questions; files go to transcriptions.
MOST_JSON = 50_000_000
#: What a form has beside its file: boundaries and fields.
FORM_MARGIN = 1_000_000
#: A form of ours has about ten.
MOST_FIELDS = 50

#: Fields that change nothing of an answer: of accounts, of caches, of OpenAI's own house.
IGNORED = frozenset(
    {
        "metadata",
        "moderation",
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    }
)


class Body(BaseModel):
    """The fields of a request; those that are not served are refused, not ignored."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: str


B = TypeVar("B", bound=Body)


async def read_json(
    request: Request, shape: type[B], neutral: Mapping[str, Sequence[Any]] = {}
) -> B:
    """The body of a request as fields.

    Args:
        request: Its body was not read yet.
        shape: What is expected.
        neutral: See `fields`.

    Raises:
        Problem: If it is too large, no JSON, or has a field that is wrong or not served.
    """
    limited = _limited(request, MOST_JSON)
    try:
        given = await limited.json()
    except (ValueError, RecursionError) as error:
        raise Problem("The body is no JSON. Send an object.", code="invalid_json") from error
    if not isinstance(given, dict):
        raise Problem("The body is JSON, but no object.", code="invalid_json")
    return fields(shape, given, neutral)


async def read_form(request: Request, most_file: int) -> FormData:
    """The form of an upload; close it when its file was read.

    Args:
        request: Its body was not read yet.
        most_file: Bytes that the file may have.

    Raises:
        Problem: If it is too large or no form.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Problem("Send a form (multipart/form-data) with a file.", code="invalid_form")
    limited = _limited(request, most_file + FORM_MARGIN)
    try:
        return await limited.form(max_files=1, max_fields=MOST_FIELDS)
    except HTTPException as error:
        raise Problem(f"The form cannot be read: {error.detail}", code="invalid_form") from error


def fields(shape: type[B], given: Mapping[str, Any], neutral: Mapping[str, Sequence[Any]]) -> B:
    """Fields of a request, checked.

    Args:
        shape: What is expected.
        given: As it was sent; None is as good as nothing.
        neutral: Values of fields which are not served that ask for what happens anyway.

    Raises:
        Problem: About the first field that is wrong, or not served.
    """
    try:
        body = shape.model_validate({k: v for k, v in given.items() if v is not None})
    except ValidationError as error:
        raise unreadable(error) from error
    for name, value in (body.model_extra or {}).items():
        if name not in IGNORED and value not in neutral.get(name, ()):
            raise Problem(
                f"{name} is not served here with this value. Leave it out.",
                code="unsupported_parameter",
                param=name,
            )
    return body


def _limited(request: Request, most: int) -> Request:
    """The same request, whose body breaks off where it gets too large."""
    told = request.headers.get("content-length", "")
    too_large = Problem(
        f"The body of this request is too large; the limit is {most / 1e6:.0f} MB.",
        TOO_LARGE,
        code="request_too_large",
    )
    if told.isdecimal() and int(told) > most:
        raise too_large
    return Request(request.scope, _counted(request.receive, most, too_large))


def _counted(receive: Receive, most: int, too_large: Problem) -> Receive:
    came = 0

    async def counted() -> Message:
        nonlocal came
        message = await receive()
        came += len(message.get("body", b""))
        if came > most:
            raise too_large
        return message

    return counted
