"""The codec at its published size: parameters and shapes, without their weight in memory."""

import torch
from torch import nn

from bench.codec_sizes import DECODER, TOKENIZER
from codec.flow import Flow
from codec.vocoder import Vocoder
from codec.whisper_vq import WhisperVQ


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_published_sizes():
    with torch.device("meta"):
        flow, vocoder, tokenizer = (
            Flow(DECODER.flow),
            Vocoder(DECODER.vocoder),
            WhisperVQ(TOKENIZER),
        )
    assert size(flow) == 111_166_208
    assert size(flow.decoder.estimator) == 81_878_864
    assert size(flow.encoder) == 20_758_016
    assert size(tokenizer) == 343_599_360
    # The file keeps a length beside each weight-normalized weight, one per first dimension.
    plain = {vocoder.m_source.l_linear, vocoder.f0_predictor.classifier, *vocoder.source_downs}
    lengths = sum(
        part.weight.shape[0]
        for part in vocoder.modules()
        if isinstance(part, nn.Conv1d | nn.ConvTranspose1d) and part not in plain
    )
    assert size(vocoder) + lengths == 20_460_591


def test_shapes_at_published_size():
    with torch.device("meta"):
        flow, vocoder = Flow(DECODER.flow), Vocoder(DECODER.vocoder)
        frames = 69
        state = torch.zeros(2, DECODER.flow.unet.in_channels, frames)
        assert flow.decoder.estimator(state, torch.zeros(2)).shape == (2, 80, frames)
        mel = torch.zeros(1, 80, frames)
        assert vocoder.pitch(mel).shape == (1, frames)
    # Its reach, in frames: what a stream has to keep for its seams.
    assert vocoder.reach < 25
