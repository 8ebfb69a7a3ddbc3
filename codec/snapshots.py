"""Which published weights the codec is made of; `weights.Store` fetches them."""

from dataclasses import replace

from errors import InputError
from weights import Snapshot

#: The publisher's name on the Hub, and its name before 2025, which redirects.
_OWNERS = ("zai-org", "THUDM")

#: The speech tokenizer, 1.5 GB.
TOKENIZER = Snapshot(
    repo="zai-org/glm-4-voice-tokenizer",
    revision="a5f2404e63c84e92f5238908e1706316324ebafa",
    title="GLM-4-Voice speech tokenizer",
    licence="GLM-4 model licence",
    files=("config.json", "preprocessor_config.json", "model.safetensors"),
)
#: Flow decoder and vocoder, 0.5 GB. Its commit could not be looked up when this was written.
DECODER = Snapshot(
    repo="zai-org/glm-4-voice-decoder",
    revision=None,
    title="GLM-4-Voice speech decoder",
    licence="GLM-4 model licence",
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
