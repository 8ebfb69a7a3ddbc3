import threading

import numpy as np
import pytest
import voice_clips
from conftest import SAMPLES

from errors import InputError, UnavailableError
from speech.files import read_clip
from speech.pcm import Audio, silence
from speech.speaker import (
    HOP,
    MOST_WINDOWS,
    OTHER_SPEAKER,
    RATE,
    SAME_SPEAKER,
    SpeakerEncoder,
    meaning,
    mel_frames,
    similarity,
    window_starts,
)

TEXT = "The wind carried the smell of fresh bread across the square."
#: What Resemblyzer 0.1.4 gives for sky.wav on torch: its largest values and their places.
EXPECTED = {
    243: 0.26660725,
    119: 0.25273502,
    62: 0.22834451,
    202: 0.21635258,
    166: 0.18619622,
    242: 0.18293133,
}


@pytest.fixture(scope="module")
def encoder():
    return voice_clips.encoder()


@pytest.fixture(scope="module")
def reader() -> Audio:
    return voice_clips.person("two_cities", 0, 16)


def test_readings_are_those_of_the_original(encoder):
    """Expectation: `embed_utterance` of Resemblyzer 0.1.4 on torch, on the same samples."""
    samples = read_clip(SAMPLES / "sky.wav").audio.samples
    found = encoder.read(samples, window_starts(len(samples))).mean(axis=0)
    found /= np.linalg.norm(found)
    for place, value in EXPECTED.items():
        assert found[place] == pytest.approx(value, abs=2e-5)
    assert np.argsort(-found)[: len(EXPECTED)].tolist() == list(EXPECTED)


def test_embedding_has_unit_length(encoder, reader):
    found = encoder.embed(reader)
    assert found.shape == (256,)
    assert found.dtype == np.float32
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
    assert similarity(found, found) == pytest.approx(1, abs=1e-5)


def test_same_speaker_is_nearer_than_others(encoder, reader):
    first, second = voice_clips.part(reader, 0, 8), voice_clips.part(reader, 8, 16)
    same = similarity(encoder.embed(first), encoder.embed(second))
    other = similarity(encoder.embed(first), encoder.embed(voice_clips.spoken(TEXT)))
    assert same > SAME_SPEAKER
    assert other < OTHER_SPEAKER
    assert "same person" in meaning(same)
    assert "different people" in meaning(other)


def test_loudness_does_not_matter(encoder, reader):
    soft = Audio(reader.samples * np.float32(0.02), reader.rate)
    loud = Audio(reader.samples * np.float32(0.9 / np.abs(reader.samples).max()), reader.rate)
    assert similarity(encoder.embed(soft), encoder.embed(loud)) > 0.98


@pytest.mark.parametrize("value", [-0.1, 0.0, 0.55, 0.7, 0.8, 0.9, 1.0])
def test_every_similarity_has_a_meaning(value):
    assert meaning(value).endswith(".")


def test_pauses_and_rate_do_not_matter(encoder, reader):
    gap = silence(3.0, reader.rate)
    parts = [
        voice_clips.part(reader, 0, 4).samples,
        gap.samples,
        voice_clips.part(reader, 4, 8).samples,
    ]
    apart = Audio(np.concatenate(parts), reader.rate)
    together = voice_clips.part(reader, 0, 8).resampled(44_100)
    assert similarity(encoder.embed(apart), encoder.embed(together)) > 0.97


def test_work_on_a_long_clip_is_bounded(encoder, reader):
    long = Audio(np.tile(reader.samples, 12), reader.rate)
    found = encoder.windows(long)
    assert len(found.embeddings) == MOST_WINDOWS
    assert found.starts[-1] > 0.9 * long.seconds
    assert similarity(found.mean, encoder.embed(reader)) > 0.97


def test_a_word_is_enough_but_a_click_is_not(encoder, reader):
    assert encoder.embed(voice_clips.part(reader, 2, 3.2)).shape == (256,)
    for clip in (silence(5.0, RATE), silence(0.0, RATE), voice_clips.chords(4.0)):
        with pytest.raises(InputError, match="too little speech"):
            encoder.embed(clip)


def test_threads_share_an_encoder(encoder, reader):
    clips = [voice_clips.part(reader, start, start + 3) for start in (0, 3, 6)]
    alone = [encoder.embed(clip) for clip in clips]
    found = {}
    threads = [
        threading.Thread(target=lambda at=at: found.update({at: encoder.embed(clips[at])}))
        for at in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for at in range(3):
        assert np.array_equal(found[at], alone[at])


def test_frames_do_not_depend_on_the_piece_they_are_read_in():
    samples = np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype(np.float32)
    early, late = mel_frames(samples, 0), mel_frames(samples, 25)
    assert np.allclose(early[25:], late[:-25], rtol=1e-4)
    beyond = mel_frames(samples, 2 * RATE // HOP - 10)
    assert np.all(beyond[20:] == 0)


@pytest.mark.parametrize(
    ("samples", "firsts"),
    # By `VoiceEncoder.compute_partial_slices` of the original.
    [(1, [0]), (25_600, [0]), (31_000, [0]), (32_160, [0, 77]), (48_000, [0, 77, 154])],
)
def test_windows_are_those_of_the_original(samples, firsts):
    assert window_starts(samples).tolist() == firsts


def test_another_file_is_refused(tmp_path):
    with pytest.raises(UnavailableError, match="cannot be read"):
        SpeakerEncoder(tmp_path / "none.pt")
    for content in (b"", b"x" * 10_000, bytes(17_090_379)):
        (tmp_path / "other.pt").write_bytes(content)
        with pytest.raises(UnavailableError, match=r"not the speaker encoder"):
            SpeakerEncoder(tmp_path / "other.pt")
