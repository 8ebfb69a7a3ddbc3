"""WebRTC's detector behind the same calls as Silero's."""

import numpy as np
import pytest

from live.turns import TurnDetector, TurnSettings
from speech.light_vad import LightDetector
from speech.pcm import Audio
from speech.vad import FRAME, RATE, SpeechDetector


def frames(audio: Audio):
    samples = audio.resampled(RATE).samples
    return samples[: len(samples) // FRAME * FRAME]


def test_speech_is_heard_and_silence_is_not(story):
    heard = LightDetector().probabilities(frames(story))
    assert heard.dtype == np.float32 and heard.min() >= 0 and heard.max() <= 1
    other = SpeechDetector().probabilities(frames(story))
    agree = np.mean((heard >= 0.5) == (other >= 0.5))
    assert agree > 0.8, f"it agrees with Silero in {agree:.0%} of the frames"
    assert not LightDetector().probabilities(np.zeros(FRAME * 40, np.float32)).any()


def test_pieces_of_any_number_of_frames_hear_the_same(story):
    signal = frames(story)[: FRAME * 120]
    whole = LightDetector().probabilities(signal)
    detector = LightDetector()
    one_by_one = [detector.probabilities(frame)[0] for frame in signal.reshape(-1, FRAME)]
    assert np.array_equal(whole, np.array(one_by_one, np.float32))


def test_detectors_do_not_disturb_each_other(story):
    signal = frames(story)[: FRAME * 60]
    alone = LightDetector().probabilities(signal)
    one, other = LightDetector(), LightDetector()
    other.probabilities(np.random.default_rng(0).normal(0, 0.3, FRAME * 9).astype(np.float32))
    assert np.array_equal(one.probabilities(signal), alone)


def test_loud_samples_do_not_wrap_around():
    """Beyond full scale, int16 would turn into its opposite."""
    tone = np.sin(np.arange(FRAME * 20) / RATE * 2 * np.pi * 300).astype(np.float32)
    clipped = np.clip(1.5 * tone, -1, 1)
    loud, limited = LightDetector(), LightDetector()
    assert np.array_equal(loud.probabilities(1.5 * tone), limited.probabilities(clipped))


@pytest.mark.parametrize("vad", ["silero", "webrtc"])
def test_a_turn_is_taken_with_either(story, vad):
    quiet = np.zeros(RATE, np.float32)
    signal = np.concatenate([quiet, story.resampled(RATE).samples[: 3 * RATE], quiet, quiet])
    turns = TurnDetector(TurnSettings(kind="server_vad", vad=vad))
    told = [type(event).__name__ for event in turns.push(signal)]
    assert told[0] == "SpeechStarted" and told[-1] == "TurnEnded"


def test_it_can_be_changed_while_listening(story):
    turns = TurnDetector(TurnSettings(kind="server_vad"))
    samples = story.resampled(RATE).samples
    turns.push(samples[:RATE])
    turns.settings = TurnSettings(kind="server_vad", vad="webrtc")
    assert isinstance(turns._vad, LightDetector)
    told = turns.push(np.concatenate([samples[RATE : 3 * RATE], np.zeros(2 * RATE, np.float32)]))
    assert type(told[-1]).__name__ == "TurnEnded"
