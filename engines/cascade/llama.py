"""The embedded chat model: a GGUF file on llama.cpp.

Source: https://github.com/xorbitsai/xllamacpp (MIT), which carries the server
of llama.cpp: continuous batching, prompt cache, OpenAI-style chunks.
"""

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engines.base import Cancel
from engines.cascade.parts import Prompt
from engines.cascade.prompts import as_text, without_oldest_exchange
from engines.cascade.slots import Slot, Slots
from engines.messages import Sampling, Usage
from engines.remote.address import Remote
from errors import EngineError, InputError

#: Tokens one reply may see and write; a conversation beyond it loses its oldest exchanges.
CONTEXT = 4096
#: Replies written at once; each further one costs 28 KiB per token of context (Qwen2.5 1.5B).
SLOTS = 4
#: Tokens per step of the prompt: small, as another reply gets one token a step meanwhile, and
#: a cancel is heard between steps (0.2 s), but not so small that it costs (see bench/NOTES.md).
PROMPT_STEP = 16
#: A dialogue that lost its oldest messages keeps what was read of the others, if it is
#: at least so many tokens in a row.
SHIFTED = 32


class Llama:
    """A `ChatModel`; concurrent replies share its slots."""

    def __init__(self, path: Path, title: str, threads: int) -> None:
        import xllamacpp  # noqa: PLC0415

        self.title = title
        self._slots = Slots(SLOTS)
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = CONTEXT * SLOTS
        params.n_parallel = SLOTS
        params.n_batch = params.n_ubatch = PROMPT_STEP
        params.cache_ram_mib = 0  # Slots are chosen here; llama.cpp would keep 8 GiB besides.
        # It listens on a port of its own as well: nobody gets in without the key.
        self._key = secrets.token_hex()
        params.api_keys = [self._key]
        params.endpoint_slots = params.endpoint_props = False
        params.n_gpu_layers = 0
        params.verbosity = -1
        for cpu in (params.cpuparams, params.cpuparams_batch):
            cpu.n_threads = threads
        try:
            self._server: Any = xllamacpp.Server(params)
        except RuntimeError as error:
            raise InputError(
                f"{path.name} could not be loaded as a chat model ({error}). "
                "It must be a GGUF file of a model that llama.cpp knows."
            ) from error

    @property
    def over_http(self) -> Remote:
        """Where the same model answers over HTTP: llama.cpp's own server, on this machine only."""
        return Remote((f"{self._server.listening_address}/v1",), self._key)

    def warm(self, system: str) -> None:
        """Read the system prompt once, so that the first question finds it cached."""
        self.prepare((Prompt("system", system), Prompt("user", "Hi")), Cancel())

    def prepare(self, prompts: Sequence[Prompt], cancel: Cancel) -> None:
        """Read a prompt into the cache; see `ReadingAhead`."""
        with self._slots.take(prompts, cancel, ahead=True) as slot:
            stream = _Stream(lambda text: None, cancel)
            request = _request(prompts, Sampling(max_tokens=0), slot)
            # The user goes on: what begins an answer would be read in vain, every time.
            request["add_generation_prompt"] = False
            self._server.handle_chat_completions(request, stream)
            if not stream.too_long:
                stream.finish()

    def reply(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        put: Callable[[str], None],
        cancel: Cancel,
    ) -> Usage:
        """Write a reply; see `ChatModel`. Drops the oldest exchanges that do not fit."""
        prompts = list(prompts)
        while True:
            stream = _Stream(put, cancel)
            with self._slots.take(prompts, cancel) as slot:
                self._server.handle_chat_completions(_request(prompts, sampling, slot), stream)
            if not stream.too_long:
                return stream.finish()
            if (shorter := without_oldest_exchange(prompts)) is None:
                raise InputError(
                    f"This is too long for the chat model ({stream.too_long}). "
                    "Shorten the text, or the system prompt."
                )
            prompts = shorter


class _Stream:
    """Takes the chunks of one reply; returning True ends the reply within a token."""

    def __init__(self, put: Callable[[str], None], cancel: Cancel) -> None:
        self._put = put
        self._cancel = cancel
        self._raised: Exception | None = None
        self._usage = Usage()
        self.too_long = ""

    def __call__(self, chunk: dict[str, Any]) -> bool:
        try:
            return self._take(chunk)
        except Exception as error:  # noqa: BLE001  (an exception would be lost in native code)
            self._raised = error
            return True

    def _take(self, chunk: dict[str, Any]) -> bool:
        if error := chunk.get("error"):
            if error.get("type") != "exceed_context_size_error":
                raise EngineError(f"The chat model failed: {error.get('message', error)}")
            self.too_long = f"{error['n_prompt_tokens']} tokens, the model takes {error['n_ctx']}"
            return True
        self._cancel.check()
        if usage := chunk.get("usage"):
            details = usage.get("prompt_tokens_details") or {}
            self._usage = Usage(
                usage["prompt_tokens"], details.get("cached_tokens", 0), usage["completion_tokens"]
            )
        for choice in chunk.get("choices", ()):
            if text := choice["delta"].get("content"):
                self._put(text)
        return False

    def finish(self) -> Usage:
        if self._raised is not None:
            raise self._raised
        self._cancel.check()
        return self._usage


def _request(prompts: Sequence[Prompt], sampling: Sampling, slot: Slot) -> dict[str, Any]:
    drawn = {} if sampling.top_p is None else {"top_p": sampling.top_p}
    seed = sampling.seed if sampling.seed is not None else secrets.randbits(31)
    return {
        "messages": [{"role": prompt.role, "content": as_text(prompt.text)} for prompt in prompts],
        "temperature": sampling.temperature,
        **drawn,
        "max_tokens": sampling.max_tokens,
        "seed": seed,
        # A cached prompt is rounded differently from a fresh one, and one rounding is
        # enough to change a word: who asks for a seed wants the same words again.
        "cache_prompt": sampling.seed is None,
        "id_slot": slot.number,
        "n_cache_reuse": SHIFTED if slot.shifted else 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        # Progress chunks let a cancel through while the prompt is still being read.
        "return_progress": True,
    }
