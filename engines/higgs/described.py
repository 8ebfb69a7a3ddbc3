"""Making what a config file describes, with errors that name the file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub.errors import StrictDataclassError

from codec.checkpoint import CheckpointError, read_json

T = TypeVar("T")

#: What transformers and torch raise at values that make no sense.
_WRONG = (
    TypeError,
    ValueError,
    KeyError,
    AttributeError,
    RuntimeError,
    ZeroDivisionError,
    StrictDataclassError,
)


def described(path: Path, what: str, make: Callable[[dict[str, Any]], T]) -> T:
    """What `make` makes of the values in a config file.

    Args:
        path: A JSON file.
        what: What it should describe, for the error.
        make: Gets the values.

    Raises:
        CheckpointError: If the file cannot be read, or describes something else.
    """
    values = read_json(path)
    try:
        return make(values)
    except _WRONG as error:
        reason = str(error).strip().splitlines()[-1].strip() if str(error).strip() else repr(error)
        raise CheckpointError(f"{path} describes no {what}: {reason}") from error
