"""VITA-1.5 behind the page, the endpoints and the command line, with tiny random weights."""

import base64
import io

import numpy as np
import openai
import pytest
import soundfile
from conftest import SAMPLES
from gradio_client import Client, handle_file
from seeing_engine import picture
from vita15_checkpoint import SIZES, place
from vita15_house import NAME, services_over

import app
from demos.page import launch
from engines.vita import layout
from engines.vita.runtime import Runtime
from engines.vita.vocabulary import IGNORED


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return place(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def url(data):
    for services in services_over(data, engine=NAME, temperature=0):
        page = launch(services, block=False)
        yield page.local_url
        page.close()


@pytest.fixture
def silent(monkeypatch):
    """The model takes whatever it hears for somebody else's."""

    def write(self, prompt, senses, **options):
        yield from self.loaded.vocabulary.encode(f"{IGNORED} what?")

    monkeypatch.setattr(Runtime, "write", write)


def test_chat_over_the_endpoint(url):
    client = Client(url, verbose=False)
    clip = handle_file(SAMPLES / "sky.wav")
    heard, answer, sound = client.predict(clip, api_name="/ask")
    assert "sky" in heard.lower()
    assert answer
    samples, rate = soundfile.read(sound)
    assert rate == 24_000
    assert len(samples)


def complete(url, **options):
    client = openai.OpenAI(base_url=f"{url}v1", api_key="none")
    image = base64.b64encode(picture("red")).decode()
    content = [
        {"type": "text", "text": "Why is the sky blue?"},
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{image}"}},
    ]
    return client.chat.completions.create(
        model=NAME,
        messages=[{"role": "user", "content": content}],
        modalities=["text", "audio"],
        audio={"voice": "own", "format": "wav" if "stream" not in options else "pcm16"},
        max_tokens=20,
        **options,
    )


def test_chat_over_rest(url):
    done = complete(url)
    said = done.choices[0].message.audio
    assert said.transcript
    samples, _ = soundfile.read(io.BytesIO(base64.b64decode(said.data)))
    assert np.abs(samples).max() > 0
    assert "unanswered" not in done.parley


def test_silence_over_rest(url, silent):
    done = complete(url)
    assert done.choices[0].message.audio.transcript == ""
    assert "not meant for it" in done.parley["unanswered"]
    *_, last = complete(url, stream=True)
    assert "not meant for it" in last.parley["unanswered"]


def command(data, monkeypatch, tmp_path, *arguments):
    monkeypatch.setattr(layout, "PUBLISHED", SIZES)
    for name, value in (("DATA", data), ("OFFLINE", "true"), ("MEMORY_BUDGET", 10**12)):
        monkeypatch.setenv(f"PARLEY_{name}", str(value))
    monkeypatch.chdir(tmp_path)
    options = ["--engine", NAME, "--device", "cpu", "--no-warm", *arguments]
    return app.main([*options, "ask", str(SAMPLES / "sky.wav"), "-o", "reply.wav", "--seed", "1"])


def test_the_command_line(data, monkeypatch, tmp_path, capfd):
    assert command(data, monkeypatch, tmp_path, "--agree", NAME) == 0
    out = capfd.readouterr().out
    assert "Q: Why is the sky blue?" in out
    assert out.partition("A: ")[2].strip()
    samples, rate = soundfile.read(tmp_path / "reply.wav")
    assert rate == 24_000
    assert len(samples)


def test_silence_on_the_command_line(data, monkeypatch, tmp_path, capfd, silent):
    assert command(data, monkeypatch, tmp_path, "--agree", NAME) == 0
    told = capfd.readouterr()
    assert "not meant for it" in told.err
    assert not (tmp_path / "reply.wav").exists()


def test_its_terms_are_asked_for(data, monkeypatch, tmp_path, capfd):
    """Academic, research and education purposes only: nobody gets past that unasked."""
    assert command(data, monkeypatch, tmp_path) == 1
    told = capfd.readouterr().err
    assert "agree" in told
    assert "research and education purposes only" in told
