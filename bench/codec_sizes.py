"""The published sizes of the codec, and models of these sizes with random weights."""

import torch

from codec.config import (
    DecoderConfig,
    EncoderConfig,
    FlowConfig,
    TokenizerConfig,
    UNetConfig,
    VocoderConfig,
)
from codec.decoder import SpeechDecoder
from codec.flow import Flow
from codec.frames import Clock
from codec.vocoder import Vocoder

DECODER = DecoderConfig(
    flow=FlowConfig(
        vocabulary=16_384,
        code_width=512,
        mels=80,
        speaker_width=192,
        guidance=0.7,
        cosine=True,
        regulator_layers=4,
        encoder=EncoderConfig(width=512, heads=8, feed_forward=2048, layers=6, block=10),
        unet=UNetConfig(
            in_channels=320,
            out_channels=80,
            channels=(256, 256),
            head_width=64,
            heads=8,
            blocks=4,
            middle_blocks=12,
        ),
    ),
    vocoder=VocoderConfig(
        mels=80,
        channels=512,
        harmonics=8,
        sample_rate=22_050,
        sine_level=0.1,
        noise_level=0.003,
        voiced_above=10.0,
        upsampling=(8, 8),
        upsampling_kernels=(16, 16),
        fft=16,
        fft_hop=4,
        kernels=(3, 7, 11),
        dilations=((1, 3, 5),) * 3,
        source_kernels=(7, 11),
        source_dilations=((1, 3, 5),) * 2,
        slope=0.1,
        limit=0.99,
        pitch_channels=512,
    ),
    clock=Clock(code_rate=12.5, sample_rate=22_050, hop=256),
)

TOKENIZER = TokenizerConfig(
    width=1280,
    heads=20,
    feed_forward=5120,
    layers=16,
    pooled_layers=0,
    mels=128,
    positions=1500,
    block=200,
    pooling=4,
    codes=16_384,
    averages=True,
)


def random_decoder(device: str = "cpu", dtype: torch.dtype = torch.float32) -> SpeechDecoder:
    """A decoder of the published size; its weights are random, and always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        flow, vocoder = Flow(DECODER.flow), Vocoder(DECODER.vocoder)
    return SpeechDecoder(DECODER, flow.to(device, dtype), vocoder.to(device))
