"""Codes to speech: in one call, or a stream per reply."""

from pathlib import Path

import numpy as np
import torch

from codec import checkpoint
from codec.acceleration import Accelerated, Acceleration
from codec.config import DecoderConfig, read_decoder_config
from codec.flow import Check, Flow, never
from codec.frames import nearest
from codec.products import pack
from codec.reply import Codes, Models, Prompt, Reply, check_codes
from codec.snapshots import DECODER
from codec.stream import DecoderStream, StreamPlan
from codec.vocoder import Vocoder
from codec.voice import Voice
from errors import InputError
from speech.pcm import Audio

#: Euler steps of a one-shot call, as in the reference.
STEPS = 10

#: Precisions of the flow; the vocoder is always in float32.
PRECISIONS = (torch.float32, torch.bfloat16, torch.float16)


class SpeechDecoder:
    """GLM-4-Voice's decoder: flow and vocoder.

    It keeps nothing of a request: replies may be decoded side by side.

    Args:
        config: Sizes.
        flow: On its device and in its precision.
        vocoder: On the same device, in float32.
        acceleration: What to do about shapes that come again and again.

    Attributes:
        models: The loaded parts.
    """

    def __init__(
        self,
        config: DecoderConfig,
        flow: Flow,
        vocoder: Vocoder,
        acceleration: Acceleration = "none",
    ) -> None:
        # The reference never leaves training mode, so its dropout stays on.
        flow, vocoder = flow.eval(), vocoder.eval()
        estimator = flow.decoder.estimator
        if acceleration == "none":
            velocity = None
            pack(flow)
        else:
            velocity = Accelerated(estimator, acceleration)
        self.models = Models(config, flow, vocoder, velocity)

    @staticmethod
    def load(
        folder: Path,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        acceleration: Acceleration = "none",
    ) -> "SpeechDecoder":
        """Load a published snapshot.

        Args:
            folder: Holds config.yaml, flow.pt and hift.pt.
            device: `cpu`, `cuda`, `cuda:1`.
            dtype: Precision of the flow: float32, bfloat16 or float16.
            acceleration: `compile` or `graphs` prepare shapes that come again and again.

        Raises:
            CheckpointError: If a file is absent, damaged, or not what it should be.
            InputError: If the precision is another.
        """
        if dtype not in PRECISIONS:
            raise InputError(f"The flow runs in float32, bfloat16 or float16, not in {dtype}.")
        checkpoint.require(folder, DECODER.files)
        config_path, flow_path, vocoder_path = (folder / name for name in DECODER.files)
        config = read_decoder_config(config_path)
        with torch.device("meta"):
            flow, vocoder = Flow(config.flow), Vocoder(config.vocoder)
        checkpoint.fill(flow, checkpoint.read_pickle(flow_path), flow_path, config_path)
        tensors = checkpoint.without_prefix(checkpoint.read_pickle(vocoder_path), "generator.")
        tensors = checkpoint.fold_weight_norm(tensors, vocoder_path)
        checkpoint.fill(vocoder, tensors, vocoder_path, config_path)
        flow, vocoder = flow.to(device, dtype), vocoder.to(device, torch.float32)
        return SpeechDecoder(config, flow, vocoder, acceleration)

    @property
    def rate(self) -> int:
        """Sample rate of the speech, Hz."""
        return self.models.clock.sample_rate

    def samples(self, codes: int) -> int:
        """How many samples a reply of so many codes has."""
        return self.models.clock.frames(codes) * self.models.clock.hop

    @torch.inference_mode()
    def open(
        self, voice: Voice | None = None, *, seed: int = 0, plan: StreamPlan | None = None
    ) -> DecoderStream:
        """Begin a reply that is decoded while its codes are made.

        Args:
            voice: See `Voice`; None is the voice of the weights.
            seed: Fixes the noise of the reply. The same seed and codes give the same
                speech, however the codes are pushed.
            plan: Sizes of the pieces; None takes the default.

        Returns:
            The stream. It holds all there is of the reply; dropping it frees that.

        Raises:
            InputError: If the voice does not fit this decoder.
        """
        plan = plan or StreamPlan()
        prompt = Prompt.of(voice or Voice(), self.models, plan.prompt)
        return DecoderStream(Reply(self.models, prompt, seed), plan)

    @torch.inference_mode()
    def decode(
        self,
        codes: Codes,
        voice: Voice | None = None,
        *,
        seed: int = 0,
        steps: int = STEPS,
        check: Check = never,
    ) -> Audio:
        """Decode a whole reply at once.

        Its time grows faster than its length (attention over all of it): beyond some ten
        seconds a stream is quicker.

        Args:
            codes: All codes of the reply.
            voice: As for `open`.
            seed: As for `open`.
            steps: Euler steps, 1 or more.
            check: Called before every step of the models; stops the work by raising.

        Raises:
            InputError: If a code is out of range, or the voice does not fit.
            EngineError: If the result is not finite.
        """
        checked = check_codes(codes, self.models.config.flow.vocabulary)
        if steps < 1:
            raise InputError(f"A decoder needs at least one Euler step, not {steps}.")
        frames = self.models.clock.frames(len(checked))
        if not frames:
            return Audio(np.zeros(0, np.float32), self.rate)
        reply = Reply(self.models, Prompt.of(voice or Voice(), self.models), seed)
        condition = reply.condition(checked, nearest(len(checked), frames))
        mel = reply.mel(condition, condition[:, :, :0], 0, frames, steps, check)
        vocoder = self.models.vocoder
        excitation, _ = reply.excite(vocoder.pitch(mel), 0)
        return reply.audio(vocoder.render(mel, excitation)[0])
