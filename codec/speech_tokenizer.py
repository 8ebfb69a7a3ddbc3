"""Speech to codes, 12.5 a second: in one call, or while somebody speaks."""

from pathlib import Path

import torch

from codec import checkpoint
from codec.config import read_tokenizer_config
from codec.features import Features, Samples, first_channel
from codec.resampling import resample
from codec.snapshots import TOKENIZER
from codec.tokenizer_stream import TokenizerStream
from codec.whisper_vq import WhisperVQ
from errors import InputError

#: Segments encoded at once: bounds the memory.
_BATCH = 8


class SpeechTokenizer:
    """GLM-4-Voice's speech tokenizer. It keeps nothing of a request.

    Args:
        network: In evaluation mode, on its device.
        features: The front end.
    """

    def __init__(self, network: WhisperVQ, features: Features) -> None:
        self.network = network.eval()
        self.features = features

    @staticmethod
    def load(
        folder: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32
    ) -> "SpeechTokenizer":
        """Load a published snapshot.

        Args:
            folder: Holds config.json, preprocessor_config.json and model.safetensors.
            device: `cpu`, `cuda`, `cuda:1`.
            dtype: Codes are exact in float32; in bfloat16 and float16 some differ.

        Raises:
            CheckpointError: If a file is absent, damaged, or not what it should be.
        """
        checkpoint.require(folder, TOKENIZER.files)
        config_path, features_path, weights_path = (folder / name for name in TOKENIZER.files)
        config = read_tokenizer_config(config_path)
        features = Features(features_path, config)
        with torch.device("meta"):
            network = WhisperVQ(config)
        tensors = checkpoint.read_safetensors(weights_path)
        tensors = checkpoint.without_prefix(tensors, "model.encoder.")
        checkpoint.fill(network, tensors, weights_path, config_path)
        network.forget_averages()
        return SpeechTokenizer(network.to(device, dtype), features)

    @property
    def size(self) -> int:
        """How many different codes there are."""
        return self.network.config.codes

    def open(self, rate: int) -> TokenizerStream:
        """Begin to encode speech that goes on.

        Args:
            rate: Its sample rate, Hz.
        """
        return TokenizerStream(self.network, self.features, rate)

    @torch.inference_mode()
    def encode(self, samples: Samples, rate: int) -> list[int]:
        """Encode a clip of any length, in segments of 30 s.

        Args:
            samples: Of several channels the first is taken, like the reference does.
            rate: Hz.

        Returns:
            One code per started 80 ms.

        Raises:
            InputError: If there are no samples, or some are not finite.
        """
        signal = resample(first_channel(samples), rate, self.features.rate)
        if not len(signal):
            raise InputError("The clip is empty: there is nothing to encode.")
        segment = self.features.segment
        segments = [signal[at : at + segment] for at in range(0, len(signal), segment)]
        length = self.features.padded(len(segments[0]))
        weight = self.network.conv1.weight
        codes: list[int] = []
        for at in range(0, len(segments), _BATCH):
            group = segments[at : at + _BATCH]
            mel, mask = self.features(group, length)
            encoded = self.network(mel.to(weight), mask.to(weight.device))
            for part, found in zip(group, encoded.codes.tolist(), strict=True):
                codes += found[: -(-len(part) // self.features.code)]
        return codes
