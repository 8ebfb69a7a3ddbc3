"""VITA-Audio's language model on vLLM servers, where `generation` has one on this machine.

What is served is the main model; so every token is its own, as in the Vanilla mode. See
docs/vllm.md.
"""

from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from engines.base import Cancel
from engines.native.sampling import Drawing
from engines.notices import tell_nobody
from engines.vita_audio.config import LanguageConfig
from engines.vita_audio.generation import WindowFullError
from engines.vita_audio.schedule import VANILLA, Schedule
from engines.vllm.client import TokenServer
from engines.vllm.vectors import EmbeddingTable, pack
from errors import InputError


class RemoteModel:
    """What is here of a language model that is elsewhere: its sizes and its embeddings.

    Args:
        folder: The published snapshot, or the folder that the servers load.
        config: Sizes.
    """

    device = torch.device("cpu")

    def __init__(self, folder: Path, config: LanguageConfig) -> None:
        self.config = config
        self._table = EmbeddingTable(folder)

    def embed(self, ids: Tensor) -> Tensor:
        """Rows [1, n, H] of token ids [n], read from the disk."""
        return self._table(ids.tolist())[None]


class RemoteGeneration:
    """Has servers write replies; takes what `Generation` takes.

    Args:
        server: Serves the model in `folder`.
        folder: The published snapshot, or the folder that the servers load.
        config: Sizes.
        window: Most tokens of prompt and reply together, if the server does not set fewer; 0:
            what the model was trained on.
    """

    def __init__(
        self, server: TokenServer, folder: Path, config: LanguageConfig, *, window: int = 0
    ) -> None:
        self.model = RemoteModel(folder, config)
        self.window = min(window, config.window) or config.window
        self._server = server

    def close(self) -> None:
        """Leave the servers; no request may be under way."""
        self._server.close()

    def generate(
        self,
        prompt: Sequence[int],
        *,
        embeddings: Tensor | None = None,
        mode: Schedule = VANILLA,
        drawing: Drawing = Drawing(),
        seed: int | None = None,
        stop: Collection[int] = (),
        max_tokens: int = 8192,
        sure: int = 0,
        cancel: Cancel,
        on_position: Callable[[int], None] | None = None,
        tell: Callable[[str], None] = tell_nobody,
    ) -> Generator[int]:
        """The tokens of a reply, as they are made; see `Generation.generate`.

        The repetition penalty is left out where there are embeddings: vLLM could only apply it
        to ids, and takes those of somebody else's prompt in their place. `on_position` is never
        called: requests wait at the server, which does not tell.

        Raises:
            InputError: If the prompt does not fit the window, or heads are asked for.
            UnavailableError: If the server cannot be used as it is.
            EngineError: If it failed while it wrote.
            WindowFullError: If the reply fills the window, after its last token.
            CancelledError: If `cancel` was set.
        """
        if mode != VANILLA:
            raise InputError(
                "A vLLM server has no prediction heads; set the speed mode to vanilla."
            )
        window = min(self.window, self._server.served(cancel, tell).longest or self.window)
        if len(prompt) >= window:
            raise InputError(
                f"The conversation is {len(prompt)} tokens long with what was said last, but only "
                f"{window} are kept, with the reply. Start a new conversation, or say less."
            )
        room = window - len(prompt)
        if embeddings is not None:
            drawing = replace(drawing, repetition_penalty=1.0)

        def write(drawing: Drawing, most: int) -> Generator[int]:
            return self._server.generate(
                prompt if embeddings is None else pack(embeddings),
                drawing=drawing,
                seed=seed,
                stop=stop,
                max_tokens=most,
                cancel=cancel,
                tell=tell,
            )

        most, ended = min(max_tokens, room), False
        if sure and not drawing.greedy:
            # A server draws all tokens of a request in the same way, so this is one of its own.
            lead = list(write(replace(drawing, temperature=0.0), min(sure, most)))
            yield from lead
            ended, most = any(token in stop for token in lead), most - len(lead)
            if embeddings is not None:
                known = self.model.embed(torch.tensor(lead))[0].to(embeddings)
                embeddings = torch.cat((embeddings, known))
            prompt = [*prompt, *lead]
        if not ended and most:
            with closing(write(drawing, most)) as tokens:
                for token in tokens:
                    yield token
                    ended = token in stop
        if not ended and max_tokens > room:
            raise WindowFullError(
                f"The reply stopped at {window} tokens, which is all that the server keeps of a "
                "conversation. Start a new one, or start the server with a longer --max-model-len."
            )
