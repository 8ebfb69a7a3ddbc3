"""Reading a batch: a CSV or JSONL file of texts and voices, checked line by line."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errors import InputError

#: Larger files are no list of jobs, bytes.
MOST_BYTES = 20_000_000
MOST_JOBS = 5_000
#: Problems that are told at once.
MOST_PROBLEMS = 10
LONGEST_VOICE = 200
LONGEST_NAME = 200
#: As for every request: larger ones have no room in the samplers of the models.
SEED_LIMIT = 2**32 - 1

_COLUMNS = ("text", "voice", "seed", "name")
_BOMS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}


@dataclass(frozen=True, slots=True)
class Job:
    """One text to be spoken.

    Attributes:
        line: Where it is in the file, from 1.
        text: What to say.
        voice: Name of a voice; empty: the default.
        seed: Fixes the random part of the synthesis.
        name: What the result is to be called; empty: made from the text.
    """

    line: int
    text: str
    voice: str = ""
    seed: int | None = None
    name: str = ""


def read_jobs(path: Path, *, max_text: int = 100_000, max_jobs: int = MOST_JOBS) -> tuple[Job, ...]:
    """Read the jobs of a file.

    CSV needs a header with `text`, and may have `voice`, `seed` and `name`, separated by
    comma, semicolon or tab. JSONL has an object with the same keys on each line.

    Args:
        path: UTF-8, or UTF-16 with a byte order mark, as spreadsheets write it.
        max_text: Longest text, characters.
        max_jobs: How many jobs there may be.

    Raises:
        InputError: If something in it cannot be used; the message names the lines.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"I cannot read {path.name}: {error.strerror}.") from error
    if len(content) > MOST_BYTES:
        raise InputError(
            f"{path.name} is larger than {MOST_BYTES / 1e6:.0f} MB. Cut it into several files."
        )
    text = _decoded(content, path.name)
    if not text.strip():
        raise InputError(f"{path.name} is empty. Each line needs a text and a voice.")
    # By content, since a suffix is easily wrong and a CSV header never begins so.
    rows = _json_rows(text) if text.lstrip().startswith("{") else _csv_rows(text, path.name)
    jobs: list[Job] = []
    problems: list[str] = []
    for line, row in rows:
        job = row if isinstance(row, str) else _job(line, row, max_text)
        if isinstance(job, str):
            problems.append(f"Line {line}: {job}")
        else:
            jobs.append(job)
        if len(jobs) > max_jobs:
            raise InputError(
                f"{path.name} has more than {max_jobs:,} jobs. Cut it into several files."
            )
    if problems:
        more = len(problems) - MOST_PROBLEMS
        told = problems[:MOST_PROBLEMS] + ([f"And {more} more lines."] if more > 0 else [])
        raise InputError(f"{path.name} was not started:\n" + "\n".join(told))
    if not jobs:
        raise InputError(f"{path.name} has no jobs, only a header. Add a line for each text.")
    return tuple(jobs)


def _decoded(content: bytes, name: str) -> str:
    encoding = next((found for bom, found in _BOMS.items() if content.startswith(bom)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(
            f"{name} is not UTF-8 (line {line}). Save it again as UTF-8; in a spreadsheet,"
            " choose “CSV UTF-8”."
        ) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise InputError(f"{name} has a zero byte in line {line}; it is no text file.")
    return text


def _csv_rows(text: str, name: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Rows as (line, values by column or what is wrong with the row)."""
    header = next(line for line in text.splitlines() if line.strip())
    delimiter = max(",;\t", key=header.count)
    # The default limit of a field is just above the longest text.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: list[str] = []
    began = 1
    try:
        for values in reader:
            line, began = began, reader.line_num + 1
            if not any(value.strip() for value in values):
                continue
            if not columns:
                columns = [value.strip().lower() for value in values]
                _check_columns(columns, name)
            elif len(values) != len(columns):
                yield line, f"it has {len(values)} fields, the header has {len(columns)}."
            else:
                yield line, dict(zip(columns, values, strict=True))
    except csv.Error as error:
        raise InputError(
            f"{name}, line {began}: {error}. Check the quotes: a text with a comma or a line"
            ' break needs them, and a quote within is written twice ("").'
        ) from error


def _check_columns(columns: list[str], name: str) -> None:
    if "text" not in columns:
        raise InputError(
            f"{name} has no column “text”. The first line names the columns: text, voice, and,"
            " where you like, seed and name."
        )
    _check_keys(columns, f"{name}: the column")
    if len(set(columns)) < len(columns):
        raise InputError(f"{name} names a column twice. Remove one.")


def _check_keys(keys: list[str], what: str) -> None:
    unknown = [key for key in keys if key not in _COLUMNS]
    if unknown:
        # A mistyped "sead" would be lost without a word.
        raise InputError(
            f"{what} {unknown[0][:40]!r} is not known, only {', '.join(_COLUMNS)}. Rename or"
            " remove it."
        )


def _json_rows(text: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            row = json.loads(content, object_pairs_hook=_no_key_twice)
            if not isinstance(row, dict):
                yield line, "it is no JSON object such as {“text”: ..., “voice”: ...}."
                continue
            _check_keys(list(row), "the key")
            yield line, row
        except InputError as error:
            yield line, str(error)
        except (ValueError, RecursionError):
            yield line, "it is no JSON. Each line is one object on its own."


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise InputError("it has a key twice.")
    return row


def _job(line: int, row: Mapping[str, Any], max_text: int) -> Job | str:
    """The job of a row, or what is wrong with it."""
    readers: dict[str, Callable[[Any], Any]] = {
        "text": lambda value: _text(value, "text", max_text),
        "voice": lambda value: _text(value, "voice", LONGEST_VOICE),
        "seed": _seed,
        "name": lambda value: _text(value, "name", LONGEST_NAME),
    }
    try:
        values = {key: readers[key](value) for key, value in row.items()}
    except ValueError as error:
        return str(error)
    if not values.get("text"):
        return "it has no text."
    return Job(line, **values)


def _text(value: Any, what: str, longest: int) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"the {what} is no text but {value!r:.40}. Put it in quotes.")
    if len(value) > longest:
        raise ValueError(
            f"the {what} has {len(value):,} characters; {longest:,} is the limit. Shorten it."
        )
    # JSON can hold half a surrogate pair; no tokenizer and no file takes one.
    return value.encode("utf-8", "replace").decode("utf-8").strip()


def _seed(value: Any) -> int | None:
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool | float):
            raise ValueError
        seed = int(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"the seed {value!r:.40} is no whole number.") from error
    if not 0 <= seed < SEED_LIMIT:
        raise ValueError(f"the seed {seed} is not between 0 and {SEED_LIMIT - 1:,}.")
    return seed
