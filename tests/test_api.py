"""The endpoints, called as programs call them: over HTTP with `gradio_client`."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ROOT, SAMPLES
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from voices.marks import read_mark

VOICES = ROOT / "assets" / "voices"


@pytest.fixture(scope="module")
def client(page_url):
    return Client(page_url, verbose=False)


def test_endpoints_have_the_published_names(client):
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    named = {
        name: [parameter["parameter_name"] for parameter in endpoint["parameters"]]
        for name, endpoint in endpoints.items()
    }
    assert named == {
        "/transcribe": ["audio"],
        "/speak": ["text", "voice", "seed"],
        "/ask": ["audio", "text", "session", "voice", "images", "video", "begin", "end", "frames"],
        "/clone": ["text", "reference", "engine", "seed"],
        "/voices": ["engine"],
        "/similarity": ["a", "b"],
    }
    for name, endpoint in endpoints.items():
        needed = 2 if name in {"/clone", "/similarity"} else 1
        assert all(p["parameter_has_default"] for p in endpoint["parameters"][needed:])


def test_transcribe(client):
    text = client.predict(handle_file(SAMPLES / "sky.wav"), api_name="/transcribe")
    assert text == "Why is the sky blue?"


def test_speak(client):
    path = client.predict("Good morning, everybody.", api_name="/speak")
    samples, rate = soundfile.read(path)
    assert rate == 24_000
    assert 0.8 < len(samples) / rate < 3
    assert np.abs(samples).max() > 0.1


def test_speak_is_fixed_by_its_seed(client):
    def speak(seed):
        path = client.predict(text="Good morning.", voice="heart", seed=seed, api_name="/speak")
        return soundfile.read(path)[0]

    assert np.array_equal(speak(1), speak(1))
    assert not np.array_equal(speak(1), speak(2))


def test_ask_by_voice(client):
    question, reply, sound = client.predict(handle_file(SAMPLES / "sky.wav"), api_name="/ask")
    assert question == "Why is the sky blue?"
    assert len(reply) > 10
    assert soundfile.info(sound).duration > 0.5


def test_a_session_is_remembered_and_others_are_not(client):
    def ask(text, session):
        return client.predict(None, text, session, api_name="/ask")[1]

    ask("Hello, my boat is called Pelican. Please remember that.", "one")
    assert "Pelican" in ask("What is my boat called?", "one")
    assert "Pelican" not in ask("What is my boat called?", "two")
    assert "Pelican" not in ask("What is my boat called?", "")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.predict(None, api_name="/ask"), "no question"),
        (lambda c: c.predict("", api_name="/speak"), "no text"),
        (lambda c: c.predict("Hello", "nobody", api_name="/speak"), "no voice"),
        (lambda c: c.predict("😀", api_name="/speak"), "nothing in this text"),
        (lambda c: c.predict("x" * 100_001, api_name="/speak"), "100,001 characters"),
        (lambda c: c.predict(None, api_name="/transcribe"), "no sound"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_told(client, call, message):
    with pytest.raises(AppError, match=message):
        call(client)


def test_a_file_that_is_no_sound_is_told(client, tmp_path):
    fake = tmp_path / "fake.wav"
    fake.write_text("This is not a sound.\n" * 100)
    with pytest.raises(AppError, match="sound"):
        client.predict(handle_file(fake), api_name="/transcribe")


def test_errors_carry_no_traceback(client):
    with pytest.raises(AppError) as caught:
        client.predict(None, api_name="/ask")
    assert "Traceback" not in str(caught.value)
    assert inspect.getmodule(type(caught.value)).__name__ == "gradio_client.exceptions"


def test_clone(client):
    """A recording as the voice; the file says what it is."""
    reference = handle_file(VOICES / "rowan" / "audio.flac")
    path = client.predict("Good morning.", reference, seed=1, api_name="/clone")
    own = client.predict("Good morning.", seed=1, api_name="/speak")
    assert not np.array_equal(soundfile.read(path)[0], soundfile.read(own)[0])
    assert read_mark(Path(path)).use == "match"
    assert read_mark(Path(own)) is None


def test_a_voice_of_the_library_by_name(client):
    path = client.predict("Good morning.", "Pip", api_name="/speak")
    assert read_mark(Path(path)).voice == "Pip"
    _, _, path = client.predict(None, "Say hello.", voice="Pip", api_name="/ask")
    assert read_mark(Path(path)).voice == "Pip"
    with pytest.raises(AppError, match="no voice 'nobody'"):
        client.predict("Good morning.", "nobody", api_name="/speak")


def test_voices(client):
    found = client.predict(api_name="/voices")
    assert found["reference"] == "match"
    assert [voice["name"] for voice in found["own"]] == ["heart"]
    assert {"Clara", "Milo", "Pip", "Rowan"} <= {voice["name"] for voice in found["library"]}
    with pytest.raises(AppError, match="no engine 'nobody'"):
        client.predict("nobody", api_name="/voices")


def test_similarity(client):
    rowan, pip = (handle_file(VOICES / name / "audio.flac") for name in ("rowan", "pip"))
    same = client.predict(rowan, rowan, api_name="/similarity")
    other = client.predict(rowan, pip, api_name="/similarity")
    assert same["similarity"] == pytest.approx(1.0, abs=0.001)
    assert other["similarity"] < same["similarity"] - 0.1
    assert same["meaning"] != other["meaning"]


def test_a_reference_without_speech_is_refused(client, tmp_path):
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(24_000 * 5), 24_000)
    with pytest.raises(AppError, match="silent"):
        client.predict("Hello.", handle_file(silent), api_name="/clone")
