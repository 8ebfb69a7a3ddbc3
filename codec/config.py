"""What the published configurations say, checked and typed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from codec import yaml_data
from codec.checkpoint import CheckpointError, read_json
from codec.frames import Clock
from codec.yaml_data import Built

_T = TypeVar("_T")

_FLOW = "cosyvoice.flow.flow.MaskedDiffWithXvec"
_ENCODER = "cosyvoice.transformer.encoder.BlockConformerEncoder"
_REGULATOR = "cosyvoice.flow.length_regulator.InterpolateRegulator"
_CFM = "cosyvoice.flow.flow_matching.ConditionalCFM"
_UNET = "cosyvoice.flow.decoder.ConditionalDecoder"
_DICT = "omegaconf.DictConfig"
_HIFT = "cosyvoice.hifigan.generator.HiFTGenerator"
_F0 = "cosyvoice.hifigan.f0_predictor.ConvRNNF0Predictor"

#: The file also describes a language model without weights, and seeds random generators.
_KNOWN = frozenset(
    {
        *(_FLOW, _ENCODER, _REGULATOR, _CFM, _UNET, _DICT, _HIFT, _F0),
        "cosyvoice.llm.llm.TransformerLM",
        "cosyvoice.transformer.encoder.ConformerEncoder",
        "cosyvoice.transformer.encoder.TransformerEncoder",
        "random.seed",
        "numpy.random.seed",
        "torch.manual_seed",
        "torch.cuda.manual_seed_all",
    }
)


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Sizes of the block-causal encoder of codes."""

    width: int
    heads: int
    feed_forward: int
    layers: int
    block: int


@dataclass(frozen=True, slots=True)
class UNetConfig:
    """Sizes of the velocity estimator."""

    in_channels: int
    out_channels: int
    channels: tuple[int, ...]
    head_width: int
    heads: int
    blocks: int
    middle_blocks: int


@dataclass(frozen=True, slots=True)
class FlowConfig:
    """Sizes and constants of the flow decoder.

    Attributes:
        vocabulary: Number of codes.
        code_width: Of a code's embedding.
        mels: Mel bins.
        speaker_width: Of a speaker embedding.
        guidance: Weight w of classifier-free guidance, (1 + w) with minus w without.
        cosine: Time runs by a cosine; else evenly.
        regulator_layers: Convolutions after the interpolation, all but the last.
        encoder: Sizes.
        unet: Sizes.
    """

    vocabulary: int
    code_width: int
    mels: int
    speaker_width: int
    guidance: float
    cosine: bool
    regulator_layers: int
    encoder: EncoderConfig
    unet: UNetConfig


@dataclass(frozen=True, slots=True)
class VocoderConfig:
    """Sizes and constants of the HiFT vocoder; lengths in samples unless said otherwise."""

    mels: int
    channels: int
    harmonics: int
    sample_rate: int
    sine_level: float
    noise_level: float
    voiced_above: float
    upsampling: tuple[int, ...]
    upsampling_kernels: tuple[int, ...]
    fft: int
    fft_hop: int
    kernels: tuple[int, ...]
    dilations: tuple[tuple[int, ...], ...]
    source_kernels: tuple[int, ...]
    source_dilations: tuple[tuple[int, ...], ...]
    slope: float
    limit: float
    pitch_channels: int

    @property
    def hop(self) -> int:
        """Samples per mel frame."""
        product = self.fft_hop
        for factor in self.upsampling:
            product *= factor
        return product


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """All of `config.yaml` that matters."""

    flow: FlowConfig
    vocoder: VocoderConfig
    clock: Clock


@dataclass(frozen=True, slots=True)
class TokenizerConfig:
    """What `config.json` of the speech tokenizer says; lengths in frames.

    Attributes:
        width: Of the encoder, `d_model`.
        heads: Of its attention.
        feed_forward: Of its layers.
        layers: How many come before the codebook.
        pooled_layers: How many of them work on pooled steps; 0 in the published model.
        mels: Mel bins.
        positions: Longest segment, after the second convolution.
        block: Steps that see each other whole, after the second convolution.
        pooling: Steps averaged into one code.
        codes: Size of the codebook.
        averages: Whether the file carries the codebook's training averages.
    """

    width: int
    heads: int
    feed_forward: int
    layers: int
    pooled_layers: int
    mels: int
    positions: int
    block: int
    pooling: int
    codes: int
    averages: bool


class _Settings:
    """Settings by name, with errors that say where one is wrong."""

    def __init__(self, values: Mapping[str, Any], place: str, path: Path) -> None:
        self._values = values
        self._place = place
        self._path = path

    def get(self, name: str, kind: type[_T]) -> _T:
        """A setting of the type `kind`."""
        value = self._values.get(name)
        if kind is float and isinstance(value, int | str) and not isinstance(value, bool):
            try:
                value = float(value)  # YAML 1.1 reads 1e-06 as a string.
            except ValueError:
                value = None
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.error(f"{name} is {self._values.get(name)!r}, not {kind.__name__}")
        return value

    def has(self, name: str) -> bool:
        """Whether there is such a setting, with a value."""
        return self._values.get(name) is not None

    def inside(self, name: str) -> "_Settings":
        """The settings below `name`."""
        return _Settings(self.get(name, dict), f"{self._place}{name}.", self._path)

    def positive(self, name: str) -> int:
        """A whole number above 0."""
        value = self.get(name, int)
        if value < 1:
            raise self.error(f"{name} is {value}, not positive")
        return value

    def ints(self, name: str) -> tuple[int, ...]:
        """A list of positive whole numbers."""
        values = self.get(name, list)
        if not values or not all(type(value) is int and value > 0 for value in values):
            raise self.error(f"{name} is {values!r}, not a list of positive numbers")
        return tuple(values)

    def int_lists(self, name: str) -> tuple[tuple[int, ...], ...]:
        """A list of lists of positive whole numbers."""
        return tuple(
            _Settings({name: values}, self._place, self._path).ints(name)
            for values in self.get(name, list)
        )

    def expect(self, **wanted: object) -> None:
        """Refuse settings that ask for what is not built here; absent ones are the default."""
        for name, value in wanted.items():
            if self._values.get(name, value) != value:
                raise self.error(f"{name} is {self._values[name]!r}; only {value!r} is known")

    def built(self, name: str, kind: str) -> "_Settings":
        """The arguments of an object of the class `kind`."""
        value = self._values.get(name)
        if not isinstance(value, Built) or value.name != kind:
            found = value.name if isinstance(value, Built) else repr(value)
            raise self.error(f"{name} is {found}, not {kind}")
        return _Settings(value.arguments, f"{self._place}{name}.", self._path)

    def error(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self._path}: {self._place}{what}.")


def read_decoder_config(path: Path) -> DecoderConfig:
    """Read `config.yaml` as plain data.

    Raises:
        CheckpointError: If it cannot be read, or describes something else than this codec.
    """
    top = _Settings(yaml_data.read(path, _KNOWN), "", path)
    flow, vocoder = top.built("flow", _FLOW), top.built("hift", _HIFT)
    config = DecoderConfig(
        flow=_flow(flow),
        vocoder=_vocoder(vocoder),
        clock=Clock(
            code_rate=flow.get("input_frame_rate", float),
            sample_rate=vocoder.positive("sampling_rate"),
            hop=_vocoder(vocoder).hop,
        ),
    )
    if config.flow.mels != config.vocoder.mels:
        raise top.error(f"flow makes {config.flow.mels} mel bins, hift takes {config.vocoder.mels}")
    return config


def _flow(flow: _Settings) -> FlowConfig:
    flow.expect(output_type="mel")
    mels = flow.positive("output_size")
    encoder = flow.built("encoder", _ENCODER)
    encoder.expect(
        normalize_before=True,
        input_layer="linear",
        pos_enc_layer_type="rel_pos_espnet",
        selfattention_layer_type="block_rel_selfattn",
        use_cnn_module=False,
        macaron_style=False,
        input_size=flow.positive("input_size"),
    )
    regulator = flow.built("length_regulator", _REGULATOR)
    regulator.expect(channels=mels)
    decoder = flow.built("decoder", _CFM)
    matching = decoder.built("cfm_params", _DICT)
    content = matching.inside("content")
    content.expect(solver="euler")
    schedule = content.get("t_scheduler", str)
    if schedule not in ("cosine", "linear"):
        raise content.error(f"t_scheduler is {schedule!r}; cosine and linear are known")
    unet = decoder.built("estimator", _UNET)
    unet.expect(act_fn="gelu", in_channels=4 * mels, out_channels=mels)
    return FlowConfig(
        vocabulary=flow.positive("vocab_size"),
        code_width=flow.positive("input_size"),
        mels=mels,
        speaker_width=flow.positive("spk_embed_dim"),
        guidance=content.get("inference_cfg_rate", float),
        cosine=schedule == "cosine",
        regulator_layers=len(regulator.ints("sampling_ratios")),
        encoder=EncoderConfig(
            width=encoder.positive("output_size"),
            heads=encoder.positive("attention_heads"),
            feed_forward=encoder.positive("linear_units"),
            layers=encoder.positive("num_blocks"),
            block=encoder.positive("block_size"),
        ),
        unet=UNetConfig(
            in_channels=4 * mels,
            out_channels=mels,
            channels=unet.ints("channels"),
            head_width=unet.positive("attention_head_dim"),
            heads=unet.positive("num_heads"),
            blocks=unet.positive("n_blocks"),
            middle_blocks=unet.positive("num_mid_blocks"),
        ),
    )


def _vocoder(hift: _Settings) -> VocoderConfig:
    fft = hift.inside("istft_params")
    pitch = hift.built("f0_predictor", _F0)
    pitch.expect(num_class=1, in_channels=hift.positive("in_channels"))
    config = VocoderConfig(
        mels=hift.positive("in_channels"),
        channels=hift.positive("base_channels"),
        harmonics=hift.positive("nb_harmonics"),
        sample_rate=hift.positive("sampling_rate"),
        sine_level=hift.get("nsf_alpha", float),
        noise_level=hift.get("nsf_sigma", float),
        voiced_above=hift.get("nsf_voiced_threshold", float),
        upsampling=hift.ints("upsample_rates"),
        upsampling_kernels=hift.ints("upsample_kernel_sizes"),
        fft=fft.positive("n_fft"),
        fft_hop=fft.positive("hop_len"),
        kernels=hift.ints("resblock_kernel_sizes"),
        dilations=hift.int_lists("resblock_dilation_sizes"),
        source_kernels=hift.ints("source_resblock_kernel_sizes"),
        source_dilations=hift.int_lists("source_resblock_dilation_sizes"),
        slope=hift.get("lrelu_slope", float),
        limit=hift.get("audio_limit", float),
        pitch_channels=pitch.positive("cond_channels"),
    )
    stages = len(config.upsampling)
    lengths = (config.upsampling_kernels, config.source_kernels, config.source_dilations)
    if any(len(values) != stages for values in lengths):
        raise hift.error(f"the lists of the upsampling stages are not all {stages} long")
    if len(config.dilations) != len(config.kernels):
        raise hift.error("resblock_kernel_sizes and resblock_dilation_sizes differ in length")
    return config


def read_tokenizer_config(path: Path) -> TokenizerConfig:
    """Read `config.json` of the speech tokenizer.

    Raises:
        CheckpointError: If it cannot be read, or describes something else than this codec.
    """
    settings = _Settings(read_json(path), "", path)
    settings.expect(
        model_type="whisper",
        activation_function="gelu",
        scale_embedding=False,
        pooling_type="avg",
        encoder_causal_convolution=True,
        encoder_causal_attention=False,
        quantize_causal_encoder=False,
        quantize_encoder_only=True,
    )
    layers = settings.positive("quantize_position")
    pooling_after = settings.positive("pooling_position")
    pooling = settings.positive("pooling_kernel_size")
    block = settings.positive("quantize_causal_block_size")
    positions = settings.positive("max_source_positions")
    if pooling_after > layers:
        raise settings.error(f"pooling_position is {pooling_after}, after quantize_position")
    if block % pooling or positions % pooling:
        raise settings.error(f"pooling_kernel_size {pooling} divides no block or no segment")
    return TokenizerConfig(
        width=settings.positive("d_model"),
        heads=settings.positive("encoder_attention_heads"),
        feed_forward=settings.positive("encoder_ffn_dim"),
        layers=layers,
        pooled_layers=layers - pooling_after,
        mels=settings.positive("num_mel_bins"),
        positions=positions,
        block=block,
        pooling=pooling,
        codes=settings.positive("quantize_vocab_size"),
        averages=settings.has("quantize_ema_decay"),
    )
