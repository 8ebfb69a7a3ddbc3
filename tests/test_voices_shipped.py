"""The voices that come with Parley: whole, small, four different ones, and understood."""

from itertools import combinations

import jiwer
import numpy as np
import pytest
from voice_tools import ROOT, files_in

from engines.base import Cancel
from engines.messages import Transcript
from speech.level import level_db
from voices.library import Library

SHIPPED = ROOT / "assets" / "voices"
NAMES = ("Clara", "Milo", "Pip", "Rowan")


@pytest.fixture(name="library", scope="module")
def library_fixture(tmp_path_factory):
    return Library(tmp_path_factory.mktemp("voices"), SHIPPED)


def words(text):
    return "".join(char for char in text.lower() if char.isalnum() or char == " ").split()


def pitch_of(audio):
    """Median fundamental frequency, Hz, by autocorrelation of the loud frames."""
    audio = audio.resampled(16_000)
    frames = np.lib.stride_tricks.sliding_window_view(audio.samples, 800)[::400]
    loud = frames[np.square(frames).mean(1) > np.square(audio.samples).mean()]
    found = []
    for frame in loud:
        spectrum = np.fft.rfft(frame - frame.mean(), 2048)
        alike = np.fft.irfft(np.abs(spectrum) ** 2)
        # 50 to 500 Hz.
        lag = 32 + int(np.argmax(alike[32:320]))
        if alike[lag] > 0.5 * alike[0]:
            found.append(16_000 / lag)
    return float(np.median(found))


def test_they_are_there_and_nothing_else(library):
    voices = library.voices()
    assert tuple(voice.name for voice in voices) == NAMES
    assert library.problems() == ()
    assert len(files_in(SHIPPED)) == 2 * len(NAMES)
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*.*")) < 1_500_000
    for voice in voices:
        assert voice.shipped and not voice.record.human
        assert "synthetic" in voice.record.description and voice.record.language == "en"


@pytest.mark.parametrize("name", NAMES)
def test_each_is_whole(library, name):
    reference = library.get(name)
    assert 5 <= reference.audio.seconds <= 12 and reference.audio.rate == 24_000
    assert -28 < level_db(reference.audio.samples) < -18
    assert np.abs(reference.audio.samples).max() < 0.95
    assert len(reference.transcript.split()) > 15


def test_they_are_four_different_voices(library):
    pitches = {name: pitch_of(library.get(name).audio) for name in NAMES}
    for one, other in combinations(NAMES, 2):
        low, high = sorted((pitches[one], pitches[other]))
        assert high / low > 1.2, pitches
    assert pitches["Rowan"] < 110 < pitches["Milo"] < 160 < pitches["Clara"] < pitches["Pip"]


@pytest.mark.parametrize("name", NAMES)
def test_each_says_its_transcript(services, library, name):
    reference = library.get(name)
    events = services.transcribe(reference.audio, language="en", cancel=Cancel())
    *_, heard = [event.text for event in events if isinstance(event, Transcript)]
    told, said = words(heard), words(reference.transcript)
    assert jiwer.wer(" ".join(said), " ".join(told)) < 0.2, heard
