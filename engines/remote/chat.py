"""A chat model behind an OpenAI-style API: vLLM, Ollama, llama.cpp, a hosted service."""

import base64
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from copy import copy
from dataclasses import replace
from typing import Any

from engines.base import Cancel, Wishes
from engines.cascade.parts import Prompt
from engines.cascade.prompts import as_text, without_oldest_exchange
from engines.messages import Sampling, Usage
from engines.remote.address import Remote, shown
from engines.remote.problems import RemoteError, malformed
from engines.remote.reasoning import ReasoningFilter
from engines.remote.servers import Errand, Servers, in_words
from errors import EngineError, InputError, UnavailableError

#: Fields that some servers refuse, and what is sent instead (None: nothing).
REFUSABLE = {
    "max_tokens": "max_completion_tokens",
    "temperature": None,
    "seed": None,
    "stream_options": None,
}


class RemoteChat:
    """A `ChatModel`; `Bound` to each request, and `Listing` what else the server has.

    Args:
        remote: Where it lies.
        model: Its name there; empty takes the first that the server lists.
        reasons_first: See `ReasoningFilter`.
    """

    def __init__(self, remote: Remote, model: str = "", *, reasons_first: bool = False) -> None:
        self._servers = Servers(remote)
        self._model = model
        self._reasons_first = reasons_first
        self._errand = Errand()

    def bound(self, wishes: Wishes, cancel: Cancel, tell: Callable[[str], None]) -> "RemoteChat":
        """The model for one request; see `Bound`."""
        bound = copy(self)
        bound._model = wishes.model or self._model
        bound._errand = Errand(cancel, wishes.key, tell)
        return bound

    def close(self) -> None:
        """Close the connections."""
        self._servers.close()

    def choices(self) -> tuple[str, ...]:
        """The server's models; see `Listing`."""

        async def listed(client: Any) -> AsyncGenerator[str]:
            for model in await _models(client):
                yield model

        with in_words():
            return tuple(self._servers.stream(listed, self._errand))

    def reply(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        put: Callable[[str], None],
        cancel: Cancel,
    ) -> Usage:
        """Write a reply; see `ChatModel`. Drops the oldest exchanges that do not fit."""
        prompts = list(prompts)
        fields = self._fields(sampling)
        answer = _Answer(put, self._reasons_first)
        errand = replace(self._errand, cancel=cancel)
        with in_words():
            while True:
                request = {**fields, "messages": [_message(prompt) for prompt in prompts]}
                try:
                    for chunk in self._servers.stream(self._request(request, answer), errand):
                        answer.take(chunk)
                    return answer.finish(sampling.max_tokens)
                except RemoteError as found:
                    shorter = without_oldest_exchange(prompts) if found.too_long else None
                    if shorter is not None:
                        prompts = shorter
                    elif (refused := _refused(found, fields)) is not None:
                        # A service that knows no such field answers without it.
                        other = REFUSABLE[refused]
                        value = fields.pop(refused)
                        if other is not None:
                            fields[other] = value
                    elif found.unknown:
                        raise self._unknown(answer.host, errand) or found from None
                    else:
                        raise

    def _request(
        self, request: dict[str, Any], answer: "_Answer"
    ) -> Callable[[Any], AsyncGenerator[Any]]:
        async def chunks(client: Any) -> AsyncGenerator[Any]:
            answer.host = shown(str(client.base_url))
            model = self._model or (await _models(client))[0]
            # Anything may be asked of the model by those who configure it.
            extra = self._servers.remote.extra
            stream = await client.chat.completions.create(
                model=model, stream=True, extra_body=extra, **request
            )
            async with stream:
                async for chunk in stream:
                    # A role and reasoning are no part of the answer: until more has come,
                    # another server may be asked.
                    if chunk.usage or any(
                        choice.delta.content or choice.finish_reason for choice in chunk.choices
                    ):
                        yield chunk

        return chunks

    def _fields(self, sampling: Sampling) -> dict[str, Any]:
        fields = {
            "temperature": sampling.temperature,
            "max_tokens": sampling.max_tokens,
            "stream_options": {"include_usage": True},
        }
        if sampling.seed is not None:
            fields["seed"] = sampling.seed
        if sampling.top_p is not None:
            fields["top_p"] = sampling.top_p
        return fields

    def _unknown(self, host: str, errand: Errand) -> UnavailableError | None:
        """What to tell when the model is unknown; None if the server lists none, either."""

        async def listed(client: Any) -> AsyncGenerator[str]:
            for model in await _models(client):
                yield model

        try:
            models = list(self._servers.stream(listed, errand))
        except (RemoteError, UnavailableError):
            return None
        return UnavailableError(
            f"The server at {host} has no model {self._model!r}. It has: {', '.join(models)}."
        )


class _Answer:
    """Follows one streamed answer."""

    def __init__(self, put: Callable[[str], None], reasons_first: bool) -> None:
        self.host = ""
        self._put = put
        self._filter = ReasoningFilter(open_at_first=reasons_first)
        self._usage = Usage()
        self._finish_reason: str | None = None
        self._begun = self._said = False

    def take(self, chunk: Any) -> None:
        self._begun = True
        if usage := getattr(chunk, "usage", None):
            details = getattr(usage, "prompt_tokens_details", None)
            self._usage = Usage(
                usage.prompt_tokens or 0,
                getattr(details, "cached_tokens", None) or 0,
                usage.completion_tokens or 0,
            )
        for choice in chunk.choices or ():
            # Reasoning that the server tells apart comes in a field of its own, and goes unread.
            if text := choice.delta.content:
                self._say(self._filter.feed(text))
            self._finish_reason = choice.finish_reason or self._finish_reason

    def finish(self, max_tokens: int) -> Usage:
        if not self._begun:
            raise malformed(self.host)
        self._say(self._filter.finish())
        if self._finish_reason is None and not self._usage.reply_tokens:
            raise EngineError(
                f"This was cut. The connection to {self.host} broke. What came before is kept."
            )
        if self._finish_reason == "content_filter":
            raise EngineError(f"The server at {self.host} filtered out the rest of this answer.")
        if self._finish_reason == "length" and not self._said:
            raise InputError(
                f"The model has thought for {max_tokens} tokens and said nothing yet. "
                "Allow a longer answer, or choose a model that does not reason."
            )
        return self._usage

    def _say(self, text: str) -> None:
        if text:
            self._said = True
            self._put(text)


async def _models(client: Any) -> list[str]:
    """Names of the server's models.

    Raises:
        UnavailableError: If it has none.
    """
    async with aclosing(_names(client)) as names:
        models = [name async for name in names]
    if not models:
        raise UnavailableError("The server lists no model. Load one there, or name one here.")
    return models


async def _names(client: Any) -> AsyncGenerator[str]:
    async for model in client.models.list():
        yield model.id


def _refused(found: RemoteError, fields: dict[str, Any]) -> str | None:
    """The field that a server refuses, if it is one that can be spared."""
    return next((name for name in REFUSABLE if name in fields and name in found.refused), None)


def _message(prompt: Prompt) -> dict[str, Any]:
    text = as_text(prompt.text)
    if not prompt.images:
        return {"role": prompt.role, "content": text}
    seen = [
        {
            "type": "image_url",
            "image_url": {
                "url": f"data:image/{image.kind};base64,{base64.b64encode(image.data).decode()}"
            },
        }
        for image in prompt.images
    ]
    spoken = [{"type": "text", "text": text}] if text else []
    return {"role": prompt.role, "content": [*seen, *spoken]}
