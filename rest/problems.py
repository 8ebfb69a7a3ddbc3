"""What went wrong, as clients of OpenAI's API expect to be told."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from errors import BusyError, CancelledError, EngineError, InputError, ParleyError, UnavailableError

logger = logging.getLogger(__name__)

BAD, WRONG_KEY, FORBIDDEN, NOT_FOUND, WRONG_METHOD = 400, 401, 403, 404, 405
TOO_LARGE, TOO_MANY, FAULT, UNAVAILABLE = 413, 429, 500, 503
#: nginx's word for a client that left; nobody reads it but the log.
LEFT = 499

#: After a full queue, seconds: about two replies.
SOON = 5
#: After weights that were not to be had, seconds: a failed load is not tried again before.
LATER = 60

UNEXPECTED = "This went wrong inside the server. It is noted in its log; please try again."
BROKEN = "The model failed while it worked on this. The server's log says more; please try again."

#: What only the owner of the server should read: absolute paths, addresses.
_PRIVATE = re.compile(
    r"\b[a-z]+://[^\s;,)]+|(?<![\w/.])(?:/[\w.@+~-]+){2,}/?|\b[A-Za-z]:\\[^\s;,)]+"
)


class Problem(Exception):  # noqa: N818  (RFC 9457 calls it so)
    """A request that is answered with an error.

    Args:
        message: What happened and what to do.
        status: Of HTTP.
        code: For programs.
        param: The field it is about.
        retry_after: After so many seconds it is worth another try.
    """

    def __init__(
        self,
        message: str,
        status: int = BAD,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.error: dict[str, Any] = {
            "message": message,
            "type": _TYPES.get(status, "invalid_request_error"),
            "param": param,
            "code": code,
        }

    def response(self) -> Response:
        """The answer."""
        wait = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return JSONResponse({"error": self.error}, self.status, wait)


_TYPES = {
    WRONG_KEY: "authentication_error",
    FORBIDDEN: "permission_error",
    TOO_MANY: "rate_limit_error",
    FAULT: "server_error",
    UNAVAILABLE: "server_error",
}


def problem_of(error: Exception) -> Problem:
    """Any error as one that clients understand; one that is a bug goes to the log."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, CancelledError | ClientDisconnect):
        return Problem("The client left.", LEFT)
    if isinstance(error, EngineError):
        # What a library says of its failure is for the log.
        logger.warning("a request failed: %s", error)
        return Problem(BROKEN, FAULT, code="engine_error")
    if not isinstance(error, ParleyError):
        logger.error("a request failed", exc_info=error)
        return Problem(UNEXPECTED, FAULT, code="internal_error")
    status, code, retry_after = BAD, "invalid_value", None
    if isinstance(error, BusyError):
        status, code, retry_after = TOO_MANY, "rate_limit_exceeded", SOON
    elif isinstance(error, UnavailableError):
        status, code, retry_after = UNAVAILABLE, "service_unavailable", LATER
    return Problem(_public(error), status, code=code, retry_after=retry_after)


@contextmanager
def blaming(param: str) -> Iterator[None]:
    """Whatever is wrong with the input in here is wrong with this field."""
    try:
        yield
    except InputError as error:
        raise Problem(_public(error), code="invalid_value", param=param) from error


def unreadable(error: ValidationError) -> Problem:
    """The first thing that is wrong with the fields of a request."""
    first = error.errors()[0]
    param = _path(first["loc"])
    if first["type"] == "missing":
        message, code = f"Missing required parameter: {param}.", "missing_required_parameter"
    else:
        message, code = f"{param}: {first['msg']}.", "invalid_value"
    return Problem(message, code=code, param=param)


def _public(error: ParleyError) -> str:
    return _PRIVATE.sub("(on the server)", str(error))


def _path(places: tuple[int | str, ...]) -> str:
    """A place in nested fields: `messages[0].content`."""
    path = ""
    for place in places:
        path += f"[{place}]" if isinstance(place, int) else f".{place}" if path else place
    return path
