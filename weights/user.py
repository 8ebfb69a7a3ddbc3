"""A chat model of the user's own: a GGUF file on disk or on the Hub."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from errors import InputError
from weights.digests import write_whole
from weights.spec import File, HubRepo, Weights

_HUB_ID = re.compile(
    r"(?P<repo>[\w.-]+/[\w.-]+)(?:/(?P<file>[\w./+-]+\.gguf))?", re.ASCII | re.IGNORECASE
)

#: The quantization taken when a repository has several: the usual balance of size and quality.
_PREFERRED = "q4_k_m"

#: Projectors of vision models and pieces of split models are no chat model by themselves.
_NOT_A_MODEL = re.compile(r"mmproj|-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)

_RECORD = ".model.json"


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A model file the user has; it is used where it lies."""

    path: Path

    @property
    def name(self) -> str:
        """Name for people and logs."""
        return self.path.stem


@dataclass(frozen=True, slots=True)
class HubFile:
    """A model the user names on the Hub.

    Attributes:
        repo: `owner/name`.
        file: Path in the repository; None lets `choose_gguf` decide.
    """

    repo: str
    file: str | None

    @property
    def name(self) -> str:
        """Name of the folder it is kept in."""
        return "--".join((self.repo + "/" + (self.file or "gguf")).split("/"))


def user_weights(spec: str) -> LocalFile | HubFile:
    """Understand how a user names a chat model; the Hub is not asked yet.

    Args:
        spec: Path of a `.gguf` file, or a Hub id: `owner/repo/file.gguf`, or `owner/repo`
            with a single GGUF file or one of the quantization Q4_K_M.

    Raises:
        InputError: If it is neither, or there is no such file.
    """
    path = Path(spec).expanduser()
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise InputError(f"{path} is not a .gguf file.")
        return LocalFile(path.absolute())
    hub_id = _HUB_ID.fullmatch(spec)
    if (
        hub_id is None
        or ".." in PurePosixPath(spec).parts
        or hub_id["repo"].lower().endswith(".gguf")
    ):
        raise InputError(
            f"{spec!r} is neither an existing .gguf file nor a Hub id "
            "such as owner/repo or owner/repo/file.gguf."
        )
    return HubFile(hub_id["repo"], hub_id["file"])


def choose_gguf(names: list[str], wanted: HubFile) -> str:
    """The file meant among those of a repository.

    Raises:
        InputError: If none or more than one fits; the message lists them.
    """
    models = sorted(
        name for name in names if name.lower().endswith(".gguf") and not _NOT_A_MODEL.search(name)
    )
    if wanted.file is not None:
        fitting = [name for name in names if name == wanted.file]
    else:
        fitting = models
        if len(models) > 1:
            fitting = [name for name in models if _PREFERRED in name.lower()]
    if len(fitting) != 1:
        listed = ", ".join(models) or "none"
        raise InputError(
            f"Name one GGUF file of {wanted.repo}, as {wanted.repo}/file.gguf. It has: {listed}."
        )
    return fitting[0]


def keep_record(folder: Path, weights: Weights) -> None:
    """Write down what the Hub said, so that later starts need not ask again."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / _RECORD, json.dumps(asdict(weights), indent=1))


def recorded(folder: Path) -> bool:
    """Whether something was written down, readable or not."""
    return (folder / _RECORD).exists()


def read_record(folder: Path) -> Weights | None:
    """What `keep_record` wrote; None if there is nothing that can be read."""
    try:
        entry = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        return Weights(
            name=entry["name"],
            title=entry["title"],
            licence=entry["licence"],
            files=tuple(File(**file) for file in entry["files"]),
            hub=HubRepo(**entry["hub"]),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
