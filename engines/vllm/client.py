"""Token ids from vLLM servers, in the place of a language model on this machine.

A server runs a folder that `engines.vllm.convert` wrote. It is asked over its OpenAI
completions endpoint, with ids (or vectors) for a prompt and `return_token_ids`, which needs
vLLM 0.10.2 or newer: no text is cut into tokens or put together on the way, so ids are exact.
"""

import base64
from collections.abc import AsyncGenerator, Callable, Collection, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from engines.base import Cancel
from engines.notices import tell_nobody
from engines.remote.address import Remote, shown
from engines.remote.problems import RemoteError
from engines.remote.servers import Errand, Servers
from errors import EngineError, InputError, UnavailableError

T = TypeVar("T")


class Drawing(Protocol):
    """How a token is chosen."""

    @property
    def temperature(self) -> float:
        """0 takes the likeliest token."""
        ...

    @property
    def top_k(self) -> int:
        """Only that many of the likeliest tokens are drawn from; 0: all."""
        ...

    @property
    def top_p(self) -> float:
        """Only the likeliest tokens that together are this probable are drawn from."""
        ...

    @property
    def repetition_penalty(self) -> float:
        """Above 1, tokens of the prompt and the reply get less likely."""
        ...


@dataclass(frozen=True, slots=True)
class Vectors:
    """A prompt as the vectors that enter the first layer, for what is more than tokens.

    Attributes:
        content: A tensor [tokens, width], as `torch.save` writes it.
        tokens: How many.
    """

    content: bytes
    tokens: int


@dataclass(frozen=True, slots=True)
class Served:
    """A model on a server.

    Attributes:
        name: As the server calls it.
        longest: Tokens of prompt and reply together; None if the server does not say.
    """

    name: str
    longest: int | None


class TokenServer:
    """One model on vLLM servers; any number of requests at once, from any threads.

    Args:
        remote: Where they are; all of them serve the same model.
        model: As they call it; empty takes the only one that there is.
    """

    def __init__(self, remote: Remote, model: str = "") -> None:
        self.host = remote.host
        self.model = model
        self._servers = Servers(remote)
        self._served: dict[str, Served] = {}

    def close(self) -> None:
        """Leave the servers; no request may be under way."""
        self._servers.close()

    def served(self, cancel: Cancel, tell: Callable[[str], None] = tell_nobody) -> Served:
        """The model that is asked, as a server described it since it last failed.

        Args:
            cancel: Stops the work.
            tell: Told what the session should know.

        Raises:
            UnavailableError: If no server answers, or it has not that model.
            CancelledError: If `cancel` was set.
        """
        for served in self._served.values():
            return served
        (served,) = self._ask(self._describe, cancel, tell)
        return served

    def generate(
        self,
        prompt: Sequence[int] | Vectors,
        *,
        drawing: Drawing,
        seed: int | None = None,
        stop: Collection[int] = (),
        max_tokens: int,
        cancel: Cancel,
        tell: Callable[[str], None] = tell_nobody,
    ) -> Generator[int]:
        """Token ids of a reply, as a server writes them.

        Ending the iteration early, or setting `cancel`, closes the connection, upon which the
        server stops and frees what it held for the request.

        Args:
            prompt: Ids, or vectors where the server was started with `--enable-prompt-embeds`.
            drawing: How tokens are chosen.
            seed: Fixes the server's random numbers; they are not those of a model here.
            stop: Ids that end a reply; the one that did is its last token.
            max_tokens: Longest reply; shorter where the model's window ends first.
            cancel: Stops the work.
            tell: Told what the session should know: that another address answers, for one.

        Raises:
            InputError: If the prompt leaves no room for a reply, or the server could not draw so.
            UnavailableError: If the server cannot be used as it is.
            EngineError: If it failed while it wrote.
            CancelledError: If `cancel` was set.
        """
        if isinstance(prompt, Vectors) and drawing.repetition_penalty != 1:
            # It would take what somebody else's prompt left behind for the ids of this one.
            raise InputError("vLLM cannot apply a repetition penalty to a prompt of vectors.")
        request = _request(prompt, drawing, seed, stop)
        length = prompt.tokens if isinstance(prompt, Vectors) else len(prompt)

        def write(client: Any) -> AsyncGenerator[list[int]]:
            return self._write(client, request, length, max_tokens)

        with closing(self._ask(write, cancel, tell)) as pieces:
            for ids in pieces:
                for token in ids:
                    cancel.check()
                    yield token

    def _ask(
        self,
        request: Callable[[Any], AsyncGenerator[T]],
        cancel: Cancel,
        tell: Callable[[str], None],
    ) -> Generator[T]:
        try:
            yield from self._servers.stream(request, Errand(cancel, tell=tell))
        except RemoteError as found:
            if "embeds" in found.refused or "embeddings" in found.refused:
                raise UnavailableError(
                    f"{found.error} It takes prompts of vectors only if it was started "
                    "with --enable-prompt-embeds, on a folder made from this very snapshot."
                ) from found
            raise found.error from found

    async def _describe(self, client: Any) -> AsyncGenerator[Served]:
        url = str(client.base_url)
        cards = (await client.models.list()).data
        names = [card.id for card in cards]
        wanted = self.model or (names[0] if len(names) == 1 else "")
        if wanted not in names:
            raise UnavailableError(
                f"The server at {shown(url)} has {', '.join(names) or 'no model'}"
                + (f", not {wanted}." if wanted else "; say which one to take.")
            )
        longest = (cards[names.index(wanted)].model_extra or {}).get("max_model_len")
        self._served[url] = Served(wanted, longest)
        yield self._served[url]

    async def _write(
        self, client: Any, request: dict[str, Any], length: int, most: int
    ) -> AsyncGenerator[list[int]]:
        url = str(client.base_url)
        if url not in self._served:
            async for _ in self._describe(client):
                pass
        served = self._served[url]
        if served.longest is not None:
            if length >= served.longest:
                raise InputError(
                    f"The conversation is {length} tokens long; the model at {shown(url)} sees "
                    f"{served.longest} with its reply. Begin a new one, or say less at once."
                )
            most = min(most, served.longest - length)
        written = 0
        try:
            async with await client.completions.create(
                model=served.name, max_tokens=most, stream=True, **request
            ) as stream:
                async for chunk in stream:
                    for choice in chunk.choices:
                        ids = _ids(choice, request["prompt"], shown(url))
                        written += len(ids)
                        if ids:
                            yield ids
                        if choice.finish_reason in ("stop", "length"):
                            return
        except Exception:
            self._served.pop(url, None)  # It may have been started anew, with another model.
            raise
        raise EngineError(f"The server at {shown(url)} broke off after {written} tokens.")


def _ids(choice: Any, prompt: list[int] | None, where: str) -> list[int]:
    """The ids in a piece of a stream; the first piece says what the server read as well."""
    fields = choice.model_extra or {}
    ids, read = fields.get("token_ids"), fields.get("prompt_token_ids")
    if ids is None:
        raise UnavailableError(
            f"The server at {where} gives no token ids. It must be vLLM 0.10.2 or newer."
        )
    if prompt and read and read != prompt:
        raise EngineError(f"The server at {where} changed the prompt before it read it.")
    return [int(token) for token in ids]


def _request(
    prompt: Sequence[int] | Vectors, drawing: Drawing, seed: int | None, stop: Collection[int]
) -> dict[str, Any]:
    """What is asked of a server; every number is said, or the snapshot's defaults would hold."""
    extra = {
        "return_token_ids": True,
        "ignore_eos": True,
        "stop_token_ids": sorted(stop),
        "top_k": drawing.top_k,
        "min_p": 0.0,
        "repetition_penalty": drawing.repetition_penalty,
    }
    if isinstance(prompt, Vectors):
        extra["prompt_embeds"] = base64.b64encode(prompt.content).decode()
    return {
        "prompt": None if isinstance(prompt, Vectors) else list(prompt),
        "temperature": drawing.temperature,
        "top_p": drawing.top_p,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "seed": seed,
        "extra_body": extra,
    }
