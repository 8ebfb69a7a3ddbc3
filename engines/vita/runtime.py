"""A loaded snapshot at work: many requests on one set of weights, a step each in turn.

So one conversation is listened to while another is answered: both are requests in the same round.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.base import Cancel
from engines.native.sampling import Drawing
from engines.native.steps import Steps, settled
from engines.notices import tell_nobody
from engines.vita.loading import Loaded, Loading
from engines.vita.prompts import Prompt
from engines.vita_audio.generation import Generation
from engines.vita_audio.remote import RemoteGeneration
from engines.vllm.client import TokenServer

T = TypeVar("T")

#: Tiles that are encoded in one step: nobody waits longer for a turn than that.
_AT_ONCE = {"cpu": 1, "cuda": 8}


@dataclass(frozen=True, slots=True)
class Senses:
    """What a prompt has beside text, in the order of the prompt.

    Attributes:
        clips: [frames, 80] log-mel each.
        tiles: [tiles, 3, size, size] each.
    """

    clips: Sequence[NDArray[np.float32]] = ()
    tiles: Sequence[NDArray[np.float32]] = ()


class Runtime:
    """One snapshot that many requests use at once; it keeps nothing of them.

    Args:
        loaded: The snapshot.
        language: Writes; has its steps on `steps`, if it is on this machine.
        steps: Where the steps of all requests run.
        tiles: Most tiles that an image is cut into.
    """

    def __init__(
        self,
        loaded: Loaded,
        language: Generation | RemoteGeneration,
        steps: Steps,
        tiles: int,
    ) -> None:
        self.loaded = loaded
        self.language = language
        self.tiles = tiles
        self._steps = steps

    @classmethod
    def of(cls, loaded: Loaded, loading: Loading, folder: Path) -> "Runtime":
        """Put a snapshot to work.

        Args:
            loaded: The snapshot.
            loading: How it was loaded.
            folder: Where from.
        """
        config = loaded.config
        steps = Steps(loading.name, loading.users)
        window = min(loading.window, config.longest) or config.longest
        language: Generation | RemoteGeneration
        if loaded.language is not None:
            language = Generation(loaded.language, steps, window=window)
        else:
            assert loading.remote is not None
            server = TokenServer(loading.remote, loading.served)
            language = RemoteGeneration(server, folder, config.language, window=window)
        return cls(loaded, language, steps, loading.tiles)

    @property
    def active(self) -> int:
        """Requests that hold state."""
        return self._steps.active

    @property
    def window(self) -> int:
        """Most tokens of a prompt with its reply."""
        return self.language.window

    def close(self) -> None:
        """Stop what runs."""
        self._steps.close()
        if isinstance(self.language, RemoteGeneration):
            self.language.close()

    def write(
        self,
        prompt: Prompt,
        senses: Senses,
        *,
        drawing: Drawing,
        seed: int | None,
        max_tokens: int,
        cancel: Cancel,
        on_position: Callable[[int], None] | None = None,
        tell: Callable[[str], None] = tell_nobody,
    ) -> Generator[int]:
        """The tokens of a reply, as they are made; the first one is the likeliest.

        The places of the prompt are filled when this returns.

        Args:
            prompt: What the model reads.
            senses: What fills its places.
            drawing: How tokens are chosen.
            seed: Fixes what is random.
            max_tokens: Longest reply.
            cancel: Stops the work within a step.
            on_position: Told how many requests come before, while there is no place.
            tell: Told what the session should know.

        Raises:
            InputError: If the prompt does not fit the window, or a clip is too long.
            CancelledError: If `cancel` was set.
        """
        embeddings = None
        if prompt.clips or prompt.tiles:
            filled = self._filled(prompt, senses)
            steps = self._steps.run(filled, cancel=cancel, on_position=on_position)
            with closing(steps):
                (embeddings,) = deque(steps, maxlen=1)
        return self.language.generate(
            prompt.ids,
            embeddings=embeddings,
            drawing=drawing,
            seed=seed,
            stop=self.loaded.vocabulary.ends | set(self.loaded.config.language.ends),
            max_tokens=max_tokens,
            sure=1,
            cancel=cancel,
            on_position=on_position,
            tell=tell,
        )

    def spoken(self, steps: Iterator[T], cancel: Cancel) -> Iterator[T]:
        """Run steps of the voice: on a GPU in turn with everybody else's, else right here."""
        if self.loaded.vision.device.type == "cpu":
            yield from steps
            return
        while made := self._steps.call(lambda: tuple(islice(steps, 1)), cancel=cancel):
            yield from made

    def _filled(self, prompt: Prompt, senses: Senses) -> Iterator[Tensor | None]:
        """Embeddings of a prompt, its places filled; None after each step but the last."""
        model, loaded = self.language.model, self.loaded
        rows = model.embed(torch.tensor(prompt.ids, device=model.device))[0]
        for begin, frames in zip(prompt.clips, senses.clips, strict=True):
            steps = loaded.whale.encode(torch.from_numpy(frames))
            heard = yield from steps
            rows[begin : begin + len(heard)] = heard.to(rows)
        tiles = [tile for image in senses.tiles for tile in image]
        size = _AT_ONCE.get(loaded.vision.device.type, 1)
        for first in range(0, len(tiles), size):
            some = torch.from_numpy(np.stack(tiles[first : first + size]))
            for number, seen in enumerate(loaded.vision(some), first):
                begin = prompt.tiles[number]
                rows[begin : begin + len(seen)] = seen.to(rows)
            yield None
        yield settled(rows)
