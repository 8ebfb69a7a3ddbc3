"""OpenS2S behind the page, the endpoints and the live line, with tiny random weights."""

import asyncio
import base64
import io
import re

import httpx
import numpy as np
import openai
import pytest
import soundfile
from conftest import SAMPLES
from gradio_client import Client, handle_file
from opens2s_house import UNITS, place, settings

from bench.caller import call
from demos.page import launch
from engines.base import Cancel
from services import Services

#: Samples of 80 ms, at the decoder's rate.
UNIT = 22_050 * 0.08


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    data = place(tmp_path_factory.mktemp("data"))
    with Services(settings(data, engine="opens2s", temperature=0)) as services:
        with services.models.use(*services.engine().models("sqa"), cancel=Cancel()):
            page = launch(services, block=False)
            yield page.local_url
        page.close()


def test_chat_over_the_endpoint(url):
    client = Client(url, verbose=False)
    clip = handle_file(SAMPLES / "sky.wav")
    heard, answer, sound = client.predict(clip, api_name="/ask")
    assert "sky" in heard.lower()
    assert answer
    samples, rate = soundfile.read(sound)
    assert rate == 22_050
    assert 0 < len(samples) <= (UNITS + 1) * UNIT


def test_chat_over_rest(url):
    client = openai.OpenAI(base_url=f"{url}v1", api_key="none")
    done = client.chat.completions.create(
        model="opens2s",
        messages=[{"role": "user", "content": "Why is the sky blue?"}],
        modalities=["text", "audio"],
        audio={"voice": "own", "format": "wav"},
        max_tokens=20,
    )
    said = done.choices[0].message.audio
    assert said.transcript
    samples, _ = soundfile.read(io.BytesIO(base64.b64decode(said.data)))
    assert np.abs(samples).max() > 0


def test_live(url, question):
    async def converse():
        async with call(url) as caller:
            caller.say(question)
            await caller.wait("response.done", seconds=90)
            await caller.wait("conversation.item.input_audio_transcription.completed")
            return caller

    caller = asyncio.run(converse())
    (done,) = caller.of("response.done")
    assert done.response.status == "completed"
    assert caller.of("response.output_audio.delta")
    assert "".join(e.delta for e in caller.of("response.output_audio_transcript.delta"))
    (heard,) = caller.of("conversation.item.input_audio_transcription.completed")
    assert isinstance(heard.transcript, str)
    marks = caller.of("parley.timings")[-1].marks
    assert marks["encoded"] <= marks["first_token"]


def test_the_encoder_is_a_stage_of_its_own(url):
    """In the waterfalls of the chat, in the histograms, and in what is exported."""
    client = Client(url, verbose=False)
    client.predict(handle_file(SAMPLES / "sky.wav"), api_name="/ask")
    stats = httpx.get(f"{url}v1/stats").json()
    assert stats["stages_ms"]["encoding"]["count"] >= 1
    asked = [turn for turn in stats["turns"] if turn["task"] == "sqa"][-1]
    assert 0 < asked["encoded_ms"] <= asked["first_token_ms"]
    counted = re.search(
        r'parley_stage_seconds_count\{stage="encoding"\} (\d+)', httpx.get(f"{url}metrics").text
    )
    assert int(float(counted[1])) >= stats["stages_ms"]["encoding"]["count"]
