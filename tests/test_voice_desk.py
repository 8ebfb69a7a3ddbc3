"""Voices of the library, behind every engine: found, offered, learned, marked."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from conftest import SAMPLES
from seeing_engine import MOLE

from engines import speaker
from engines.base import Cancel, Reference
from engines.cascade import embedded
from engines.cascade.matched import VoiceMatching, _kept
from engines.messages import AudioChunk
from errors import InputError
from speech.pcm import Audio, concatenate
from speech.timbre import Timbre
from voice_desk import SHIPPED
from voices.features import remembering
from voices.library import Library


@pytest.fixture
def desk(services, tmp_path):
    """Voices with a library of their own."""
    desk = copy.copy(services.voices)
    desk.library = Library(tmp_path / "voices", SHIPPED)
    return desk


def test_an_engine_offers_its_own_voices_first(desk, services):
    names = [voice.name for voice in desk.offered(services.engine().info).voices]
    assert names == ["heart", "Clara", "Milo", "Pip", "Rowan"]
    assert [voice.name for voice in desk.offered(MOLE).voices] == ["gruff"]


def test_names_are_found(desk, services):
    info = services.engine().info
    assert desk.resolved(None, info) is None
    assert desk.resolved("heart", info) == "heart"
    assert desk.resolved("rowan", info).name == "Rowan"
    with pytest.raises(InputError, match="nobody"):
        desk.resolved("nobody", info)
    with pytest.raises(InputError, match="Mole speaks in its own voices only"):
        desk.resolved("Rowan", MOLE)


def test_a_voice_deleted_in_mid_use_says_so_and_the_reference_lives_on(desk, services, tmp_path):
    speech = services.voices.library.get("Clara").audio
    desk.library.add("Guest", speech, origin="synthetic")
    held = desk.resolved("Guest", services.engine().info)
    desk.library.delete("Guest")
    with pytest.raises(InputError, match="deleted or renamed"):
        desk.resolved("Guest", services.engine().info)
    events = services.engine().speak("Good morning.", held, cancel=Cancel())
    assert any(isinstance(event, AudioChunk) for event in events)


def test_only_speech_from_references_is_marked(desk, services):
    info = services.engine().info
    assert desk.made(None, info) is None
    assert desk.made("heart", info) is None
    made = desk.made("Rowan", info)
    assert (made.engine, made.voice, made.use) == ("embedded", "Rowan", "match")
    assert "its own voice, moved towards the recording 'Rowan'" in made.sentence


def test_the_watermark_goes_into_references_only(desk):
    class Mark:
        present = True

        def embed(self, audio):
            return Audio(audio.samples + np.float32(0.001), audio.rate)

    desk.watermark = Mark()
    chunk = AudioChunk(Audio(np.zeros(10, np.float32), 24_000), "Hm.")
    (plain,) = desk.watermarked(iter([chunk]), "heart")
    assert plain is chunk
    (marked,) = desk.watermarked(iter([chunk]), Reference("me", chunk.audio))
    assert marked.text == "Hm."
    assert marked.audio.samples[0] == np.float32(0.001)


def test_a_recording_becomes_a_reference_or_is_refused(desk, services, noise):
    clip = services.recording(SAMPLES / "story.wav")
    reference = desk.from_recording(clip, cancel=Cancel())
    assert 3 <= reference.audio.seconds <= 15
    for bad in (
        noise,
        Audio(np.zeros(240_000, np.float32), 24_000),
        Audio(clip.audio.samples[:12_000], 24_000),
    ):
        with pytest.raises(InputError):
            desk.from_recording(replace(clip, audio=bad), cancel=Cancel())


def test_similarity_tells_voices_apart(desk, services):
    rowan, pip = (services.voices.library.get(name).audio for name in ("Rowan", "Pip"))
    half = len(rowan) // 2
    halves = [Audio(part, rowan.rate) for part in (rowan.samples[:half], rowan.samples[half:])]
    same = desk.similarity(*halves, cancel=Cancel())
    assert same > desk.similarity(rowan, pip, cancel=Cancel()) + 0.1


def test_learning_is_done_once_for_each_reference(services):
    reference = services.voices.library.get("Milo")
    asked = []
    keep = remembering()

    def counted(kind, compute):
        def noted():
            asked.append(kind)
            return compute()

        return keep(kind, noted)

    own = replace(reference, keep=counted)
    services.learn(own, cancel=Cancel())
    assert [kind.partition("-")[0] for kind in asked] == ["timbre", "plan", "gain"]
    list(services.speak("Good morning.", own, seed=1, cancel=Cancel()))
    assert len(asked) == 3


def test_what_is_kept_and_damaged_is_learned_again(services):
    reference = services.voices.library.get("Milo")
    damaged = replace(reference, keep=lambda kind, compute: b"damaged")
    found = _kept(damaged, "timbre-1", Timbre.from_bytes, lambda: "made again", repr)
    assert found == "made again"
    names = (embedded.HIBARI, speaker.NAME)
    with services.models.use(*names, cancel=Cancel()) as (hibari, encoder):
        move = VoiceMatching().mover(hibari, "heart", damaged, encoder, Cancel())
        spoken = hibari.synthesize("Good morning.", "heart", np.random.default_rng(0))
    assert not np.array_equal(move(spoken).samples, spoken.samples)


def test_a_reference_of_the_voice_itself_is_left_as_it_is(services):
    text = "Good morning, everybody. The tea is ready, and so is the bread from yesterday."
    own = [
        e.audio for e in services.speak(text, seed=1, cancel=Cancel()) if isinstance(e, AudioChunk)
    ]
    reference = services.voices.reference("itself", concatenate(own))
    given = [
        e.audio
        for e in services.speak(text, reference, seed=1, cancel=Cancel())
        if isinstance(e, AudioChunk)
    ]
    assert np.array_equal(concatenate(given).samples, concatenate(own).samples)
