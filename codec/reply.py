"""What one reply is decoded with, from its first frame to its last."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.config import DecoderConfig
from codec.flow import Check, Flow, Velocity, never
from codec.frames import Clock
from codec.noise import FrameNoise
from codec.vocoder import Vocoder
from codec.voice import Voice
from errors import EngineError, InputError
from speech.pcm import Audio

Codes = Sequence[int] | NDArray[np.integer] | Tensor
"""Codes of a reply, one dimension."""

#: Purposes of the noises of a reply.
_MEL_NOISE, _SOURCE_NOISE, _PHASES = range(3)


@dataclass(frozen=True, slots=True)
class Models:
    """The loaded decoder; nothing in it changes.

    Attributes:
        config: Sizes.
        flow: The flow decoder.
        vocoder: The vocoder.
        velocity: Stands in for the flow's estimator.
    """

    config: DecoderConfig
    flow: Flow
    vocoder: Vocoder
    velocity: Velocity | None = None

    @property
    def clock(self) -> Clock:
        """How codes, frames and samples count time."""
        return self.config.clock


@dataclass(frozen=True, slots=True)
class Prompt:
    """A voice as the flow takes it.

    Attributes:
        codes: The prompt's codes.
        index: Which of them sounds at each of its frames, int64 `[frames]`.
        mel: Its mel, `[1, mels, frames]`.
        speaker: The speaker's part of the estimator's input, `[1, mels]`.
    """

    codes: tuple[int, ...]
    index: Tensor
    mel: Tensor
    speaker: Tensor

    @property
    def frames(self) -> int:
        """Length of the prompt."""
        return self.mel.shape[2]

    @staticmethod
    def of(voice: Voice, models: Models, most: int | None = None) -> "Prompt":
        """Make a voice ready.

        Args:
            voice: What is given; codes and mel are cut to what both cover.
            models: Decides sizes and device.
            most: Longest prompt, codes; the end is kept. None keeps all.

        Raises:
            InputError: If the voice does not fit the decoder.
        """
        config, flow, clock = models.config.flow, models.flow, models.clock
        embedding = None
        if voice.embedding is not None:
            if voice.embedding.shape != (config.speaker_width,):
                raise InputError(
                    f"The speaker embedding is {list(voice.embedding.shape)}; this decoder takes "
                    f"[{config.speaker_width}]."
                )
            embedding = torch.from_numpy(voice.embedding).float()[None]
        codes: tuple[int, ...] = ()
        mel = torch.zeros(1, config.mels, 0)
        index = torch.zeros(0, dtype=torch.int64)
        if voice.codes is not None and voice.mel is not None:
            if voice.mel.shape[0] != config.mels:
                raise InputError(
                    f"The mel of the voice has {voice.mel.shape[0]} bins; this decoder takes "
                    f"[{config.mels}, frames]."
                )
            codes = tuple(check_codes(voice.codes, config.vocabulary))
            index = clock.codes_at(0, voice.mel.shape[1])
            index = index[index < len(codes)]
            mel = torch.from_numpy(voice.mel).float()[None, :, : len(index)]
            codes = codes[: int(index[-1]) + 1]
            if most is not None:
                cut = max(0, len(codes) - most)
                kept = index >= cut
                codes, index, mel = codes[cut:], index[kept] - cut, mel[:, :, kept]
        return Prompt(codes, index, mel.to(flow.device), flow.speaker(embedding))


class Reply:
    """One reply: its models, voice and noise. It knows nothing of how far decoding is."""

    def __init__(self, models: Models, prompt: Prompt, seed: int) -> None:
        self.models = models
        self.prompt = prompt
        config = models.config
        self._sources = config.vocoder.harmonics + 1
        self._mel_noise = FrameNoise(seed, _MEL_NOISE, config.flow.mels)
        self._source_noise = FrameNoise(seed, _SOURCE_NOISE, self._sources * config.clock.hop)
        phases = FrameNoise(seed, _PHASES, self._sources).uniform()
        self._phases = ((2 * phases - 1) * torch.pi)[None, :, None].to(models.flow.device)

    def condition(self, codes: Sequence[int], index: Tensor) -> Tensor:
        """What the mel is to follow, for the prompt and some frames.

        Args:
            codes: Some codes of the reply.
            index: Which of them sounds at each of the frames, int64 `[frames]`.

        Returns:
            `[1, mels, prompt frames + frames]`.
        """
        flow = self.models.flow
        together = torch.cat((self.prompt.index, len(self.prompt.codes) + index))
        ids = torch.tensor([[*self.prompt.codes, *codes]], device=flow.device)
        return flow.condition(ids, together.to(flow.device))

    def mel(
        self,
        condition: Tensor,
        known: Tensor,
        first: int,
        last: int,
        steps: int,
        check: Check = never,
    ) -> Tensor:
        """The mel of some frames.

        Args:
            condition: As `condition` makes it, for these frames.
            known: Mel of the first of these frames, `[1, mels, up to last - first]`.
            first: First frame of the reply that is wanted.
            last: The one after the last.
            steps: Euler steps.
            check: Called before every step.

        Returns:
            float32 `[1, mels, last - first]`.

        Raises:
            EngineError: If the result is not finite.
        """
        flow, ahead = self.models.flow, self.prompt.frames
        noise = torch.cat((self._mel_noise.at(-ahead, 0), self._mel_noise.at(first, last)))
        noise = noise.t()[None].to(flow.device)
        given = torch.zeros_like(noise)
        given[:, :, :ahead] = self.prompt.mel
        given[:, :, ahead : ahead + known.shape[2]] = known
        speaker, velocity = self.prompt.speaker, self.models.velocity
        mel = flow.solve(noise, condition, speaker, given, steps, velocity, check)
        self.require_finite(mel, "mel")
        return mel[:, :, ahead:]

    def excite(
        self, pitch: Tensor, first: int, turned: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The vocoder's excitation for the frames of `pitch`, the first of which is `first`.

        Args:
            pitch: Hz, `[1, frames]`.
            first: Frame of the reply.
            turned: Turns of the pitch before it; None at the start of the reply.

        Returns:
            `[1, 1, samples]`, and the turns after each frame.
        """
        frames = pitch.shape[1]
        noise = self._source_noise.at(first, first + frames)
        noise = noise.view(frames, self._sources, -1).transpose(0, 1).flatten(1)[None]
        return self.models.vocoder.excite(pitch, self._phases, noise.to(pitch.device), turned)

    def audio(self, wave: Tensor) -> Audio:
        """A rendered stretch, `[samples]`.

        Raises:
            EngineError: If it holds values that are not finite.
        """
        self.require_finite(wave, "samples")
        return Audio(wave.float().cpu().numpy(), self.models.clock.sample_rate)

    def require_finite(self, made: Tensor, what: str) -> None:
        """Refuse what a model made if it is not finite.

        Raises:
            EngineError: If it is not.
        """
        if not made.isfinite().all():
            raise EngineError(
                f"The speech decoder made {what} that are not finite, with the flow in "
                f"{self.models.flow.dtype}. Choose float32, or bfloat16 instead of float16."
            )


def check_codes(codes: Codes | Iterable[int], vocabulary: int) -> list[int]:
    """Codes as a list.

    Raises:
        InputError: If one of them is none.
    """
    values = codes.tolist() if isinstance(codes, Tensor | np.ndarray) else list(codes)
    for position, code in enumerate(values):
        if isinstance(code, bool) or not isinstance(code, int | np.integer):
            raise InputError(f"Code {position} is {code!r}; codes are whole numbers.")
        if not 0 <= code < vocabulary:
            raise InputError(
                f"Code {position} is {code}; this decoder knows 0 to {vocabulary - 1}. Was the "
                "offset of the audio tokens subtracted?"
            )
    return [int(code) for code in values]
