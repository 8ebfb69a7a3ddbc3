"""HyperPyYAML files as plain data.

The published `config.yaml` is a program: its tags build objects and call functions
by name. Here it is only read. A tag becomes a record that says what it asks for,
and only names known here are let through.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from codec.checkpoint import CheckpointError

_REFERENCE = re.compile(r"<(\w+)>")


@dataclass(frozen=True, slots=True)
class Built:
    """What the file would build: a class by name, with arguments.

    Attributes:
        name: Dotted name, as in the file.
        arguments: By name; references are replaced by what they refer to.
    """

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Reference:
    name: str


class _Loader(yaml.SafeLoader):
    """Makes `Built` of `!new:`, references of `!ref`, and nothing of the calls by `!apply:`."""


def _build(loader: _Loader, name: str, node: yaml.Node) -> Built:
    if isinstance(node, yaml.MappingNode):
        arguments = loader.construct_mapping(node, deep=True)
        return Built(name, {str(key): value for key, value in arguments.items()})
    if isinstance(node, yaml.ScalarNode) and node.value == "":
        return Built(name, {})
    raise yaml.constructor.ConstructorError(
        None, None, f"{name} is given something else than named arguments", node.start_mark
    )


def _apply(loader: _Loader, name: str, node: yaml.Node) -> Built:
    return Built(name, {})


def _refer(loader: _Loader, node: yaml.Node) -> _Reference:
    match = _REFERENCE.fullmatch(node.value) if isinstance(node, yaml.ScalarNode) else None
    if match is None:
        raise yaml.constructor.ConstructorError(
            None, None, "a reference other than <name>", node.start_mark
        )
    return _Reference(match[1])


_Loader.add_multi_constructor("!new:", _build)
_Loader.add_multi_constructor("!apply:", _apply)
_Loader.add_constructor("!ref", _refer)


def read(path: Path, known: frozenset[str]) -> dict[str, Any]:
    """Read a file.

    Args:
        path: The file.
        known: Names of classes and functions that may occur in it.

    Returns:
        Its top level by name.

    Raises:
        CheckpointError: If it cannot be read, refers to what is not in it, or names
            a class or function that is not known.
    """
    try:
        # A subclass of SafeLoader: it can make nothing but plain data and `Built`.
        value = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds no settings by name. Is it the right file?")
    return {name: _resolve(item, value, known, path, ()) for name, item in value.items()}


def _resolve(
    item: Any, top: dict[str, Any], known: frozenset[str], path: Path, seen: tuple[str, ...]
) -> Any:
    """Replace references, and check every name."""
    match item:
        case _Reference(name):
            if name not in top or name in seen:
                raise CheckpointError(f"{path} refers to <{name}>, which is not in it.")
            return _resolve(top[name], top, known, path, (*seen, name))
        case Built(name, arguments):
            if name not in known:
                raise CheckpointError(
                    f"{path} asks for {name}, which is not known here. Nothing was loaded: it may "
                    "be another model's file, or one that was tampered with."
                )
            return Built(
                name,
                {key: _resolve(part, top, known, path, seen) for key, part in arguments.items()},
            )
        case dict():
            return {key: _resolve(part, top, known, path, seen) for key, part in item.items()}
        case list():
            return [_resolve(part, top, known, path, seen) for part in item]
        case _:
            return item
