"""A published model, known by its repository; the Hub says what its files are."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from weights.spec import File, HubRepo, Weights
from weights.user import read_record, recorded


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A repository of the Hub at one commit, or the part of it that is needed.

    Sizes and hashes are not in here: they are asked for once, at the commit, before
    anything is fetched, and written down beside the files.

    Attributes:
        repo: `owner/name`.
        revision: Commit hash. None pins the commit that the first fetch finds: it is kept
            in a file beside the weights, and later starts stay with it.
        title: Name for people.
        licence: Licence of the weights.
        files: Patterns of the files that are needed; each has to match. `*` stands for
            anything within one part of a path.
        optional: Patterns of files that are taken where they are.
    """

    repo: str
    revision: str | None
    title: str
    licence: str
    files: tuple[str, ...]
    optional: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name without the owner; also of its folder."""
        return self.repo.partition("/")[2]

    def chosen(self, names: list[str]) -> list[str]:
        """Those among the files of a repository that are wanted."""
        patterns = self.files + self.optional
        return [name for name in names if any(_fits(name, pattern) for pattern in patterns)]

    def unmet(self, names: list[str]) -> tuple[str, ...]:
        """The patterns that none of these files matches, though one has to."""
        return tuple(
            pattern for pattern in self.files if not any(_fits(name, pattern) for name in names)
        )

    def found(self, files: tuple[File, ...], revision: str) -> Weights:
        """The snapshot with what the Hub says about its files."""
        return Weights(self.name, self.title, self.licence, files, hub=HubRepo(self.repo, revision))

    def known(self, folder: Path) -> Weights | None:
        """What is known of the files without asking the Hub; None if nothing is.

        That is what was written down at the first fetch, if it is of the wanted commit. Where
        nothing was, but files that fit lie in the folder, somebody put them there: they are
        taken as they are.
        """
        record = read_record(folder)
        if record is not None:
            names = [file.name for file in record.files]
            fits = self.revision in {None, _commit(record)} and not self.unmet(names)
            return record if fits else None
        if recorded(folder) or not folder.is_dir():
            return None
        paths = {path.relative_to(folder).as_posix(): path for path in _below(folder)}
        names = self.chosen(sorted(paths))
        if self.unmet(names):
            return None
        by_hand = tuple(File(name, paths[name].stat().st_size, None) for name in names)
        return self.found(by_hand, self.revision or "unknown")

    def commit(self, folder: Path) -> str | None:
        """The commit to ask for: the given one, or the one pinned earlier; None: the newest."""
        record = read_record(folder)
        return self.revision or (_commit(record) if record else None)


def _fits(name: str, pattern: str) -> bool:
    """Whether a path matches part by part, so that `*.bin` means none in a folder below."""
    parts, patterns = PurePosixPath(name).parts, PurePosixPath(pattern).parts
    return (
        len(parts) == len(patterns)
        and ".." not in parts
        and all(fnmatchcase(part, wanted) for part, wanted in zip(parts, patterns, strict=True))
    )


def _commit(record: Weights) -> str | None:
    return record.hub.revision if record.hub else None


def _below(folder: Path) -> list[Path]:
    """Files in a folder, except those that are unfinished or ours."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")
    ]
