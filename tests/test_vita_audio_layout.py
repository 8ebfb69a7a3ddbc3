"""The rules for names and shapes, held against checkpoints that the published code saved."""

import pytest
from codec_golden import GOLDEN, folders

from engines.native.snapshot import Snapshot
from engines.vita_audio.config import LanguageConfig
from engines.vita_audio.layout import PUBLISHED, Sizes, sizes_of, tensors, verify
from engines.vita_audio.sensevoice import ENCODER, EncoderConfig


def saved():
    return [folder for folder in folders("mtp_lm") if (folder.checkpoint / "config.json").exists()]


@pytest.mark.parametrize("folder", saved(), ids=str)
def test_rules_give_every_tensor_of_a_saved_checkpoint(folder):
    snapshot = Snapshot(folder.checkpoint)
    config = LanguageConfig.read(folder.checkpoint)
    plus = config.hears == "embeddings"
    if plus and f"{ENCODER}embed.weight" not in snapshot.shapes:
        pytest.skip(f"the encoder's weights are not in {GOLDEN}; set PARLEY_GOLDEN")
    encoder = EncoderConfig.of(snapshot.shapes, folder.checkpoint) if plus else None
    transcripts = snapshot.shapes[f"{ENCODER}ctc.ctc_lo.bias"][0] if plus else 0
    sizes = sizes_of(config, encoder, transcripts)
    assert tensors(sizes) == snapshot.shapes
    verify(snapshot, config, sizes, "the reference")


def test_the_four_checkpoints_have_the_size_that_is_known_of_them():
    """Parameters by part, as published."""

    def count(name):
        return sum(_product(shape) for shape in tensors(PUBLISHED[name]).values())

    def _product(shape):
        result = 1
        for size in shape:
            result *= size
        return result

    assert count("VITA-Audio-Boost") == count("VITA-Audio-Balance")
    assert count("VITA-Audio-Boost") == pytest.approx(10.32e9, rel=0.001)
    plus = count("VITA-Audio-Plus-Vanilla")
    assert plus - 7.73e9 == pytest.approx(0.249e9, abs=0.01e9)
    heads = count("VITA-Audio-Plus-Boost") - plus
    assert heads == pytest.approx(2.59e9, rel=0.001)
    assert Sizes() == PUBLISHED["VITA-Audio-Boost"]
