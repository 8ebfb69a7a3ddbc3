"""The decoder's mel, taken from recordings."""

import numpy as np
import pytest
from conftest import SAMPLES

from codec.mel import log_mel
from errors import InputError
from speech.files import read_clip


def test_a_tone_is_where_it_should_be():
    time = np.arange(22_050) / 22_050
    mel = log_mel(np.sin(2 * np.pi * 1000 * time).astype(np.float32), 22_050)
    assert mel.shape == (80, 22_050 // 256)
    # Slaney's scale is linear up to 1 kHz, 15 mel; 80 filters share its 0 to 45.2 mel.
    assert set(mel[:, 20:-20].argmax(axis=0)) == {26}
    assert mel.min() >= np.log(1e-5) - 1e-4


def test_level_is_a_shift():
    clip = read_clip(SAMPLES / "sky.wav").audio
    loud, soft = (log_mel(clip.samples * gain, clip.rate) for gain in (1.0, 0.5))
    above = soft > np.log(1e-2)
    np.testing.assert_allclose((loud - soft)[above], np.log(2), atol=1e-2)


def test_too_short():
    with pytest.raises(InputError, match="too short"):
        log_mel(np.zeros(300, np.float32), 22_050)
