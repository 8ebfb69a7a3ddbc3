"""What a turn and the dialogue before it become: a prompt, and what its places are filled with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from engines.images import Image
from engines.messages import Conversation, Message, Turn
from engines.vita.fbank import frames_of
from engines.vita.prompts import Place, Prompt, Said, Sight, encode, render
from engines.vita.runtime import Runtime, Senses
from engines.vita.tiling import tiles_of
from engines.vita.vocabulary import READ
from engines.vita.whale import rows_of
from errors import InputError

#: Tokens that a reply should find room for, before pictures of earlier turns do.
_REPLY = 512


@dataclass(frozen=True, slots=True)
class Pictures:
    """What is shown with a message.

    Attributes:
        images: Cut into tiles.
        frames: Moments of a video or the camera, a tile each.
    """

    images: tuple[Image, ...] = ()
    frames: tuple[Image, ...] = ()

    @staticmethod
    def of(shown: Turn | Message) -> "Pictures":
        """Those of a turn or an earlier message."""
        return Pictures(shown.images, shown.frames)

    def __len__(self) -> int:
        return len(self.images) + len(self.frames)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the model is asked.

    Attributes:
        prompt: What it reads.
        senses: What places are filled with.
        forgotten: Pictures of earlier turns for which there was no room.
    """

    prompt: Prompt
    senses: Senses
    forgotten: int


@dataclass(frozen=True, slots=True)
class Asking:
    """Makes prompts for one snapshot.

    Attributes:
        runtime: Whose sizes count.
    """

    runtime: Runtime

    def ask(self, turn: Turn, conversation: Conversation) -> Asked:
        """The prompt of a turn.

        Of earlier turns words stand for sound, and pictures are shown again, the oldest first
        left out where they do not fit beside the rest.

        Raises:
            InputError: If it does not fit even so, or a clip is too short.
        """
        clips = () if turn.audio is None else (frames_of(turn.audio.samples, turn.audio.rate),)
        earlier = [Pictures.of(message) for message in conversation.visible()]
        shown = Pictures.of(turn)
        forgotten = 0
        while True:
            prompt = self._prompt(turn, conversation, (*earlier, shown), clips)
            room = self.runtime.window - min(_REPLY, self.runtime.window // 2)
            oldest = next((number for number, seen in enumerate(earlier) if seen), None)
            if len(prompt.ids) <= room or oldest is None:
                break
            forgotten += len(earlier[oldest])
            earlier[oldest] = Pictures()
        self._require_room(prompt)
        tiles = tuple(chain.from_iterable(map(self._tiles, (*earlier, shown))))
        return Asked(prompt, Senses(clips, tiles), forgotten)

    def _prompt(
        self,
        turn: Turn,
        conversation: Conversation,
        shown: Sequence[Pictures],
        clips: Sequence[NDArray[np.float32]],
    ) -> Prompt:
        messages = conversation.visible()
        said = [
            Said(
                message.role,
                message.text.strip(),
                tuple(self._places(seen)),
                # What was answered is text here, and so it is marked.
                mark=READ if message.role == "assistant" else "",
            )
            for message, seen in zip(messages, shown, strict=False)
        ]
        heard = tuple(Place("clip", rows_of(len(clip))) for clip in clips)
        said.append(Said("user", turn.text.strip(), tuple(self._places(shown[-1])), heard))
        parts = render(said, sight_of(shown), conversation.system.strip())
        return encode(parts, self.runtime.loaded.vocabulary)

    def _places(self, seen: Pictures) -> Iterator[Place]:
        vision = self.runtime.loaded.config.vision
        place = Place("tile", vision.tokens)
        for image in seen.images:
            count = tiles_of(image.width, image.height, vision.size, self.runtime.tiles)
            yield from (place for _ in range(count))
        yield from (place for _ in seen.frames)

    def _tiles(self, seen: Pictures) -> Iterator[NDArray[np.float32]]:
        lens = self.runtime.loaded.config.lens
        yield from (lens.image(image, self.runtime.tiles) for image in seen.images)
        yield from (lens.frame(frame) for frame in seen.frames)

    def _require_room(self, prompt: Prompt) -> None:
        length, window = len(prompt.ids), self.runtime.window
        if length < window:
            return
        vision = self.runtime.loaded.config.vision
        pictures = len(prompt.tiles) * vision.tokens
        remedy = (
            f"Pictures take {pictures:,} of them; show fewer, or have them looked at less closely "
            "(PARLEY_VITA15_TILES)."
            if pictures > length // 2
            else "Start a new conversation, or say less at once."
        )
        raise InputError(
            f"This takes {length:,} tokens with what was said before, but only {window:,} are "
            f"kept, with the reply. Nothing was cut or asked. {remedy}"
        )


def sight_of(shown: Sequence[Pictures]) -> Sight:
    """What the model is told that it sees; of a mixture it is told as of images."""
    if any(seen.images for seen in shown):
        return "image"
    return "video" if any(seen.frames for seen in shown) else "nothing"
