"""Values of a model's JSON files, of the kind that they must be."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from codec.checkpoint import CheckpointError


class Fields:
    """Reads values by name.

    Every method raises `CheckpointError`, with the file and the name, where a value is absent or
    of another kind.

    Args:
        path: The file, for messages.
        values: What it holds.
    """

    def __init__(self, path: Path, values: Mapping[str, Any]) -> None:
        self._path = path
        self._values = values

    def whole(self, name: str, least: int = 1) -> int:
        """A whole number."""
        value = self._values.get(name)
        if type(value) is not int or value < least:
            self._refuse(name, value, f"a whole number of at least {least}")
        return int(value)

    def number(self, name: str) -> float:
        """A number above 0."""
        value = self._values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            self._refuse(name, value, "a number above 0")
        return float(value)

    def ids(self, name: str) -> tuple[int, ...]:
        """A token id, or several."""
        value = self._values.get(name)
        ids = value if isinstance(value, list) else [value]
        if not ids or not all(type(one) is int and one >= 0 for one in ids):
            self._refuse(name, value, "a token id or a list of them")
        return tuple(ids)

    def _refuse(self, name: str, value: object, wanted: str) -> NoReturn:
        raise CheckpointError(f"{self._path}: {name} is {json.dumps(value)}, not {wanted}.")
