"""Weights from the Hugging Face Hub.

`huggingface_hub` gives the client, the addresses, the token and the metadata,
but the bytes are streamed here. Its own downloads (2.4) write to a temporary
file of a random name that is thrown away on any interruption, so a gigabyte
that was nearly there would start from zero; and they can be cancelled, and tell
their progress, only once in 10 MB.
"""

import queue
import threading
import time
from pathlib import Path

import httpx2
from huggingface_hub import HfApi, constants, get_session, get_token, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.hf_api import ModelInfo, RepoSibling

from errors import InputError, UnavailableError
from weights.job import Job, SourceError, length
from weights.snapshot import Snapshot
from weights.spec import File, HubRepo, Weights
from weights.user import HubFile, choose_gguf
from weights.watch import Watch

#: How long the Hub may take to say anything at all, seconds.
_PROBE_SECONDS = 3.5

#: How long an unreachable Hub is not asked again, seconds: several models are
#: fetched in a row at the first start, and each would wait.
_OUTAGE_SECONDS = 60.0

_TIMEOUT = httpx2.Timeout(10.0, connect=_PROBE_SECONDS)

#: Broken connections in a row, without a byte gained, after which the Hub is given up.
_MAX_SETBACKS = 3
_SETBACK_PAUSE = 1.0

_CLIENT_ERRORS = range(400, 500)

#: The Hub does not tell whether a repository is absent or closed.
_NOT_OPEN = (401, 403, 404)

_TOO_MANY_REQUESTS = 429
_PARTIAL_CONTENT = 206


class _Outages:
    """Which endpoints did not answer lately, and why; a fact about this process."""

    def __init__(self) -> None:
        self._until: dict[str, tuple[float, str]] = {}

    def reason(self, endpoint: str) -> str | None:
        until, reason = self._until.get(endpoint, (0.0, ""))
        return reason if time.monotonic() < until else None

    def note(self, endpoint: str, reason: str) -> None:
        self._until[endpoint] = (time.monotonic() + _OUTAGE_SECONDS, reason)


_outages = _Outages()


class Hub:
    """The Hugging Face Hub as a source.

    Args:
        endpoint: Base address; None takes `HF_ENDPOINT` or the public Hub.
    """

    title = "Hugging Face Hub"

    def __init__(self, endpoint: str | None = None) -> None:
        self._endpoint = (endpoint or constants.ENDPOINT).rstrip("/")

    def offer(self, weights: Weights) -> str | None:
        """The repository and revision, or None."""
        hub = weights.hub
        return f"{hub.repo} at revision {hub.revision} on the {self.title}" if hub else None

    def fetch(self, job: Job) -> None:
        """Download and install every file of the job; see `weights.job.Source`."""
        hub = job.weights.hub
        if hub is None:
            raise SourceError("no repository is known")
        self._require_answer(job.watch)
        scratch = job.scratch / "hub"
        job.require_space(sum(file.size - length(scratch / file.name) for file in job.files))
        done = job.present_bytes
        with job.watch.phase("downloading", self.title, job.weights.size, done):
            for file in job.files:
                partial = scratch / file.name
                partial.parent.mkdir(parents=True, exist_ok=True)
                url = hf_hub_url(
                    hub.repo, file.name, revision=hub.revision, endpoint=self._endpoint
                )
                self._download(url, partial, file.size, done, job.watch)
                job.install(partial, file, f"{hub.repo} on the {self.title}")
                done += file.size

    def find(self, wanted: HubFile, watch: Watch) -> Weights:
        """Look up a model of the user's choice; pins the commit the repository is at now.

        Raises:
            InputError: If there is no such repository or no such file, or more than one fits.
            UnavailableError: If the Hub cannot be reached.
            CancelledError: If the task was cancelled.
        """
        info = self._info(wanted.repo, None, watch)
        found = {sibling.rfilename: sibling for sibling in info.siblings or ()}
        name = choose_gguf(list(found), wanted)
        licences = [
            tag.removeprefix("license:") for tag in info.tags or () if tag.startswith("license:")
        ]
        return Weights(
            name=wanted.name,
            title=f"{wanted.repo}: {name}",
            licence=licences[0] if licences else "unknown",
            files=(self._file(found[name]),),
            hub=HubRepo(wanted.repo, self._commit(info)),
        )

    def survey(self, wanted: Snapshot, revision: str | None, watch: Watch) -> Weights:
        """Ask what the files of a snapshot are: names, sizes and hashes at one commit.

        Args:
            wanted: The snapshot.
            revision: Commit; None takes the newest, which the answer then names.
            watch: May stop the wait.

        Raises:
            InputError: If there is no such repository or commit.
            UnavailableError: If the Hub cannot be reached, or lacks a file that is needed.
            CancelledError: If the task was cancelled.
        """
        info = self._info(wanted.repo, revision, watch)
        found = {sibling.rfilename: sibling for sibling in info.siblings or ()}
        names = wanted.chosen(list(found))
        commit = revision or self._commit(info)
        if unmet := wanted.unmet(names):
            raise UnavailableError(f"{wanted.repo} at {commit} has no {', '.join(unmet)}.")
        return wanted.found(tuple(self._file(found[name]) for name in names), commit)

    def _info(self, repo: str, revision: str | None, watch: Watch) -> ModelInfo:
        """What the Hub says about a repository."""
        try:
            self._require_answer(watch)
            return HfApi(endpoint=self._endpoint).model_info(
                repo,
                revision=revision,
                files_metadata=True,
                timeout=constants.DEFAULT_REQUEST_TIMEOUT,
            )
        except (SourceError, httpx2.HTTPError) as error:
            if isinstance(error, HfHubHTTPError) and error.response.status_code in _NOT_OPEN:
                what = f"{repo} at revision {revision}" if revision else repo
                raise InputError(
                    f"{what} is not on the {self.title}, or not open to you: if it is "
                    "private or gated, log in with `hf auth login` and accept its terms."
                ) from error
            raise UnavailableError(f"{repo} cannot be looked up: {error}") from error

    def _file(self, sibling: RepoSibling) -> File:
        """A file with what is told of its content: SHA-256 of large ones, Git's of small ones."""
        name, size, lfs = sibling.rfilename, sibling.size, sibling.lfs
        if size is None:
            raise UnavailableError(f"The {self.title} does not tell the size of {name}.")
        if lfs:
            return File(name, size, lfs.sha256)
        return File(name, size, None, blob=sibling.blob_id)

    def _commit(self, info: ModelInfo) -> str:
        if info.sha is None:
            raise UnavailableError(f"The {self.title} does not tell the commit of {info.id}.")
        return info.sha

    def _require_answer(self, watch: Watch) -> None:
        """Raise `SourceError` within a few seconds if the endpoint does not answer."""
        reason = _outages.reason(self._endpoint)
        if reason is None:
            reason = self._probe(watch)
            if reason is not None:
                _outages.note(self._endpoint, reason)
        if reason is not None:
            raise SourceError(f"{self._endpoint} cannot be reached: {reason}")

    def _probe(self, watch: Watch) -> str | None:
        """Why the endpoint does not answer; None if it does, be it with an error."""
        answers: queue.Queue[str | None] = queue.Queue()

        def ask() -> None:
            try:
                get_session().head(self._endpoint, timeout=_PROBE_SECONDS, follow_redirects=False)
                answers.put(None)
            except (httpx2.HTTPError, OSError) as error:
                answers.put(str(error) or type(error).__name__)

        # On a thread, because no time-out covers the look-up of the host name.
        threading.Thread(target=ask, name="hub-probe", daemon=True).start()
        deadline = time.monotonic() + _PROBE_SECONDS
        while time.monotonic() < deadline:
            watch.check()
            try:
                return answers.get(timeout=0.1)
            except queue.Empty:
                continue
        return f"no answer within {_PROBE_SECONDS:.0f} s"

    def _download(self, url: str, partial: Path, size: int, base: int, watch: Watch) -> None:
        """Complete `partial`, picking up a broken connection where it broke.

        Args:
            url: Address of the file.
            partial: Holds the beginning of the file, or does not exist.
            size: Bytes of the whole file.
            base: Bytes of the phase before this file.
            watch: Follows the download.

        Raises:
            SourceError: If the Hub refuses, or keeps breaking off.
            CancelledError: If the task was cancelled.
        """
        setbacks = 0
        while (have := length(partial)) < size:
            problem = "the connection was closed early"
            try:
                self._stream(url, partial, size, base, watch)
            except httpx2.HTTPStatusError as error:
                problem = _plain(error.response)
                status = error.response.status_code
                if status in _CLIENT_ERRORS and status != _TOO_MANY_REQUESTS:
                    raise SourceError(problem) from error
            except httpx2.HTTPError as error:
                problem = str(error) or type(error).__name__
            if length(partial) > have:
                setbacks = 0
                continue
            setbacks += 1
            if setbacks == _MAX_SETBACKS:
                raise SourceError(f"{url} broke off {setbacks} times in a row: {problem}")
            watch.sleep(_SETBACK_PAUSE)

    def _stream(self, url: str, partial: Path, size: int, base: int, watch: Watch) -> None:
        """Make one request for what is missing and write what comes."""
        have = length(partial)
        # Compressed, a range would count bytes of something else than the file.
        headers = {"Accept-Encoding": "identity"}
        if token := get_token():  # not sent on to another host by a redirect
            headers["Authorization"] = f"Bearer {token}"
        if have:
            headers["Range"] = f"bytes={have}-"
        with get_session().stream("GET", url, headers=headers, timeout=_TIMEOUT) as response:
            response.raise_for_status()
            if response.status_code != _PARTIAL_CONTENT:
                have = 0  # The server sends the whole file.
            with partial.open("rb+" if partial.exists() else "wb") as target:
                target.seek(have)
                target.truncate()
                for block in response.iter_bytes():
                    have += len(block)
                    if have > size:
                        target.truncate(0)
                        raise SourceError(f"{url} is longer than the {size} bytes expected")
                    target.write(block)
                    watch.at(base + have)


def _plain(response: httpx2.Response) -> str:
    """The refusal in words; the Hub puts them in a header."""
    message = response.headers.get("X-Error-Message")
    status = f"HTTP {response.status_code} for {response.url}"
    return f"{message} ({status})" if message else status
