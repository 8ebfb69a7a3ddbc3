"""Higgs Audio's speech codec: 25 frames of 8 codes a second, and 24 kHz speech from them.

The encoder and the decoder are those of DAC, the semantic features HuBERT's, as transformers has
them. The model that joins them there (`HiggsAudioV2TokenizerModel`) cannot be imported without
torchaudio, which it needs for one resampling; so the joints are here, under the names that the
published weights have.
"""

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from transformers import AutoModel, HiggsAudioV2TokenizerConfig

from codec.checkpoint import CheckpointError, fill, read_safetensors, require
from codec.resampling import resample
from engines.higgs.delay import Codes
from engines.higgs.described import described
from engines.higgs.stream import DecoderStream, Reach, reach
from errors import InputError
from speech.pcm import Audio

CONFIG, WEIGHTS = "config.json", "model.safetensors"
#: Silence that HuBERT is given on either side, samples at 16 kHz: its kernels are wider than
#: their stride, and so it gives a feature for every 20 ms.
_HUBERT_PADDING = 160
#: What a checkpoint holds for training only: the decoder of HuBERT's features, counts of the
#: codebooks, and HuBERT's embedding of what is masked.
_TRAINING = ("decoder_semantic.", "fc1.", "semantic_model.masked_spec_embed")
_TRAINING_COUNTS = (".codebook.inited", ".codebook.cluster_size", ".codebook.embed_avg")
#: HuBERT's position convolution has its weight in two parts; older files name them otherwise.
_POSITION = "semantic_model.encoder.pos_conv_embed.conv."
_PARTS = (
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
    ("weight_g", "weight_v"),
)


class _Codebook(nn.Module):
    """Entries of one codebook."""

    embed: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("embed", torch.zeros(size, width))


class _Quantizer(nn.Module):
    """One stage of the residual quantizer."""

    def __init__(self, config: HiggsAudioV2TokenizerConfig) -> None:
        super().__init__()
        self.codebook = _Codebook(config.codebook_size, config.codebook_dim)
        self.project_in = nn.Linear(config.hidden_size, config.codebook_dim)
        self.project_out = nn.Linear(config.codebook_dim, config.hidden_size)

    def encode(self, hidden: Tensor) -> Tensor:
        """The nearest entries: [n, hidden] to [n]."""
        wanted = self.project_in(hidden)
        entries = self.codebook.embed.T
        # The distance, less what all entries share; in transformers' order, for equal ties.
        distance = wanted.pow(2).sum(1, keepdim=True) - 2 * wanted @ entries
        nearest: Tensor = (distance + entries.pow(2).sum(0, keepdim=True)).argmin(dim=-1)
        return nearest

    def decode(self, codes: Tensor) -> Tensor:
        """[n] to [n, hidden]."""
        projected: Tensor = self.project_out(functional.embedding(codes, self.codebook.embed))
        return projected


class _Residual(nn.Module):
    """A residual unit of the semantic encoder."""

    def __init__(self, config: HiggsAudioV2TokenizerConfig, width: int, dilation: int) -> None:
        super().__init__()
        kernel = config.unit_kernel_size
        padding = (kernel - 1) // 2 * dilation
        self.conv1 = nn.Conv1d(width, width, kernel, padding=padding, dilation=dilation, bias=False)
        self.conv2 = nn.Conv1d(width, width, 1, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        inner = self.conv1(functional.elu(hidden))
        added: Tensor = hidden + self.conv2(functional.elu(inner))
        return added


class _SemanticBlock(nn.Module):
    """Residual units, then a convolution that may shorten the sequence."""

    def __init__(
        self, config: HiggsAudioV2TokenizerConfig, width: int, out: int, stride: int
    ) -> None:
        super().__init__()
        self.res_units = nn.ModuleList(
            _Residual(config, width, dilation) for dilation in config.block_dilations
        )
        kernel = 3 if stride == 1 else 2 * stride
        self.conv = nn.Conv1d(width, out, kernel, stride=stride, padding=(kernel - 1) // 2)

    def forward(self, hidden: Tensor) -> Tensor:
        for unit in self.res_units:
            hidden = unit(hidden)
        folded: Tensor = self.conv(hidden)
        return folded


class _SemanticEncoder(nn.Module):
    """What the codec makes of HuBERT's features: [1, width, n] to the same."""

    def __init__(self, config: HiggsAudioV2TokenizerConfig) -> None:
        super().__init__()
        width = config.semantic_hidden_size
        kernel = config.kernel_size
        self.conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, bias=False)
        outs = [int(width * ratio) for ratio in config.channel_ratios]
        self.conv_blocks = nn.ModuleList(
            _SemanticBlock(config, before, out, stride)
            for before, out, stride in zip([width, *outs], outs, config.strides, strict=False)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = self.conv(hidden)
        for block in self.conv_blocks:
            hidden = block(hidden)
        return hidden


class _Network(nn.Module):
    """The parts that encode and decode, named as in the published file."""

    def __init__(self, config: HiggsAudioV2TokenizerConfig) -> None:
        super().__init__()
        acoustic = config.acoustic_model_config
        dac = AutoModel.from_config(acoustic)
        self.acoustic_encoder = dac.encoder
        self.acoustic_decoder = dac.decoder
        # Unlike DAC's, this decoder gives whole frames, and its output is not squashed.
        for module in self.acoustic_decoder.modules():
            if isinstance(module, nn.ConvTranspose1d):
                module.output_padding = (module.stride[0] % 2,)
        self.acoustic_decoder.tanh = nn.Identity()
        self.encoder_semantic = _SemanticEncoder(config)
        self.semantic_model = AutoModel.from_config(config.semantic_model_config)
        parametrize.remove_parametrizations(
            self.semantic_model.encoder.pos_conv_embed.conv, "weight"
        )
        # Of use in training only, and not in every file.
        self.semantic_model.masked_spec_embed = None
        self.fc = nn.Linear(config.hidden_size, config.hidden_size)
        self.fc2 = nn.Linear(config.hidden_size, acoustic.hidden_size)
        self.quantizer = nn.Module()
        self.quantizer.quantizers = nn.ModuleList(
            _Quantizer(config) for _ in range(config.num_quantizers)
        )


class Codec:
    """Encodes references, decodes speech. Holds no request; any thread may use it.

    Args:
        config: Sizes.
        network: The weights, a `_Network`.
        device: Where they are.
    """

    def __init__(self, config: HiggsAudioV2TokenizerConfig, network: Any, device: str) -> None:
        self._config = config
        self._network = network
        self._device = torch.device(device)
        self.rate: int = config.sample_rate
        self.hop: int = math.prod(config.acoustic_model_config.upsampling_ratios)
        self.books: int = config.num_quantizers
        self.entries: int = config.codebook_size
        self.context: Reach = reach(config.acoustic_model_config.upsampling_ratios)
        entries = network.quantizer.quantizers[0].codebook.embed
        #: Tells one codec's codes from another's.
        self.fingerprint = hashlib.sha256(entries.cpu().numpy().tobytes()).hexdigest()[:12]

    @torch.inference_mode()
    def encode(self, audio: Audio) -> Codes:
        """Frames of a clip, int64 `[n, K]`; a last frame that is not whole is left out.

        Raises:
            InputError: If it is shorter than a frame.
        """
        samples = audio.resampled(self.rate).samples
        samples = samples[: len(samples) // self.hop * self.hop]
        if not len(samples):
            raise InputError("This recording is too short to be heard.")
        network = self._network
        acoustic = network.acoustic_encoder(self._tensor(samples)[None, None])
        semantic = network.encoder_semantic(self._semantic(samples))
        joined = torch.cat((acoustic, semantic), dim=1)[0].T
        residual = network.fc(joined)
        codes = []
        for quantizer in network.quantizer.quantizers:
            codes.append(quantizer.encode(residual))
            residual = residual - quantizer.decode(codes[-1])
        frames: Codes = torch.stack(codes, dim=1).cpu().numpy()
        return frames

    @torch.inference_mode()
    def decode(self, frames: Codes) -> NDArray[np.float32]:
        """Speech of frames, int64 `[n, K]`, each code in [0, entries): float32 `[n * hop]`."""
        network = self._network
        codes = torch.from_numpy(frames).to(self._device)
        hidden: Tensor | float = 0.0
        for book, quantizer in enumerate(network.quantizer.quantizers):
            hidden = hidden + quantizer.decode(codes[:, book])
        speech = network.acoustic_decoder(network.fc2(hidden).T[None])
        samples: NDArray[np.float32] = speech[0, 0].float().cpu().numpy()
        return samples

    def stream(self) -> DecoderStream:
        """A decoder for one utterance."""
        return DecoderStream(self.decode, self.hop, self.context)

    def _semantic(self, samples: NDArray[np.float32]) -> Tensor:
        """HuBERT's features, the mean of its layers: [1, width, frames]."""
        config = self._config
        heard = resample(samples, self.rate, config.semantic_sample_rate)
        padded = np.pad(heard, _HUBERT_PADDING)
        layers = self._network.semantic_model(
            self._tensor(padded)[None], output_hidden_states=True
        ).hidden_states
        features = torch.stack(layers).mean(dim=0)
        return features[:, :: config.semantic_downsample_factor].transpose(1, 2)

    def _tensor(self, samples: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(samples).to(self._device)


def load(folder: Path, device: str) -> Codec:
    """The codec of a folder, in float32: it is small beside the language model.

    Raises:
        CheckpointError: If a file or a tensor is absent, damaged or of another shape.
    """
    require(folder, (CONFIG, WEIGHTS))

    def make(values: dict[str, Any]) -> tuple[Any, _Network]:
        config = HiggsAudioV2TokenizerConfig.from_dict(values)
        with torch.device("meta"):
            return config, _Network(config)

    config, network = described(folder / CONFIG, "speech codec", make)
    path = folder / WEIGHTS
    tensors = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in read_safetensors(path).items()
        if not name.startswith(_TRAINING) and not name.endswith(_TRAINING_COUNTS)
    }
    fill(network, _joined(tensors, path), path, folder / CONFIG)
    network.to(device).eval().requires_grad_(False)
    return Codec(config, network, device)


def _joined(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """With the weight of HuBERT's position convolution in one piece.

    Weight normalization (Salimans and Kingma, 2016), here over every dimension but the last.
    """
    for norm_name, direction_name in _PARTS:
        norm, direction = (
            tensors.pop(_POSITION + name, None) for name in (norm_name, direction_name)
        )
        if norm is None and direction is None:
            continue
        if norm is None or direction is None:
            lacking = norm_name if norm is None else direction_name
            raise CheckpointError(f"{path} lacks the tensor {_POSITION + lacking}.")
        if norm.numel() != direction.shape[-1]:
            raise CheckpointError(
                f"{path}: the shapes of {_POSITION + norm_name} {list(norm.shape)} and "
                f"{_POSITION + direction_name} {list(direction.shape)} do not fit each other."
            )
        length = direction.flatten(0, -2).norm(dim=0)
        tensors[_POSITION + "weight"] = direction * (norm.flatten() / length)
    return tensors
