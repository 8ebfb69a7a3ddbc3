"""Where the published weights are, and how they come here."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from errors import InputError, UnavailableError

_log = logging.getLogger(__name__)

#: Keeps the commit that a folder was fetched at.
_PIN = "revision.txt"

#: The publisher's name on the Hub, and its name before 2025, which redirects.
_OWNERS = ("zai-org", "THUDM")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One published model.

    Attributes:
        repo: Hub repository, `owner/name`.
        revision: Commit hash. None pins the commit that the first fetch finds.
        files: What is needed of it.
    """

    repo: str
    revision: str | None
    files: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name without the owner; also of its folder."""
        return self.repo.partition("/")[2]


#: The speech tokenizer, 1.5 GB.
TOKENIZER = Snapshot(
    repo="zai-org/glm-4-voice-tokenizer",
    revision="a5f2404e63c84e92f5238908e1706316324ebafa",
    files=("config.json", "preprocessor_config.json", "model.safetensors"),
)
#: Flow decoder and vocoder, 0.5 GB. Its commit could not be looked up when this was written.
DECODER = Snapshot(
    repo="zai-org/glm-4-voice-decoder",
    revision=None,
    files=("config.yaml", "flow.pt", "hift.pt"),
)


def published(repo: str) -> Snapshot:
    """The snapshot of a repository, under the new or the old name of its owner.

    Raises:
        InputError: If it is another repository.
    """
    for snapshot in (TOKENIZER, DECODER):
        if repo in {f"{owner}/{snapshot.name}" for owner in _OWNERS}:
            return replace(snapshot, repo=repo)
    raise InputError(
        f"{repo} is not part of GLM-4-Voice's codec; those are {TOKENIZER.repo} and {DECODER.repo}."
    )


def fetch(snapshot: Snapshot, folder: Path, *, offline: bool = False) -> Path:
    """Have the files of a snapshot on disk, fetching those that are not.

    Args:
        snapshot: What to fetch.
        folder: Where models are kept; the files go to a folder of their own in it.
        offline: Never touch the network.

    Returns:
        The folder with the files.

    Raises:
        UnavailableError: If they cannot be had.
    """
    from huggingface_hub import HfApi, snapshot_download  # noqa: PLC0415  (not needed offline)
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

    target = folder / snapshot.name
    pin = target / _PIN
    pinned = pin.read_text(encoding="utf-8").strip() if pin.is_file() else None
    revision = snapshot.revision or pinned
    whole = all((target / name).is_file() for name in snapshot.files)
    if whole and pinned is not None and pinned == revision:
        return target
    if offline:
        raise UnavailableError(
            f"{snapshot.repo} is not in {target}, and nothing is fetched offline. Start once with "
            "a connection, or put the files there: " + ", ".join(snapshot.files) + f", {_PIN}."
        )
    try:
        if revision is None:
            revision = HfApi().model_info(snapshot.repo).sha or "main"
            _log.info("%s is pinned to commit %s from now on", snapshot.repo, revision)
        snapshot_download(
            snapshot.repo,
            revision=revision,
            local_dir=target,
            allow_patterns=list(snapshot.files),
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UnavailableError(
            f"{snapshot.repo} cannot be fetched: {reason}. Check the connection, or put its files "
            f"into {target} by hand."
        ) from error
    missing = [name for name in snapshot.files if not (target / name).is_file()]
    if missing:
        raise UnavailableError(f"{snapshot.repo} at {revision} has no {', '.join(missing)}.")
    # Last, so that a fetch that broke off is taken up again.
    pin.write_text(f"{revision}\n", encoding="utf-8")
    return target
