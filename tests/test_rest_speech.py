"""Text to speech as programs ask for it: the official client over a real server."""

import asyncio
import base64
import io
import json

import av
import httpx
import numpy as np
import openai
import pytest
import soundfile

from voices.marks import read_mark

LINE = "Good morning, everybody. The sky is blue, and the grass is green."


def speak(openai_client, text=LINE, **options):
    options = {"model": "default", "voice": "default", **options}
    return openai_client.audio.speech.create(input=text, **options)


def seconds(content):
    with av.open(io.BytesIO(content)) as file:
        rate = file.streams.audio[0].rate
        return sum(frame.samples for frame in file.decode(audio=0)) / rate


@pytest.fixture(scope="module")
def plain(openai_client):
    """The line as bare samples, int16."""
    content = speak(openai_client, response_format="pcm", extra_body={"seed": 1}).content
    return np.frombuffer(content, "<i2")


@pytest.mark.parametrize("kind", ["mp3", "opus", "aac", "flac", "wav"])
def test_every_format_holds_the_whole_line(openai_client, plain, kind):
    answer = speak(openai_client, response_format=kind, extra_body={"seed": 1})
    assert answer.response.headers["content-type"].startswith("audio/")
    assert seconds(answer.content) == pytest.approx(len(plain) / 24_000, abs=0.1)
    if kind != "aac":
        assert soundfile.read(io.BytesIO(answer.content))[1] in (24_000, 48_000)


def test_what_was_spoken_is_heard(openai_client, tmp_path):
    path = tmp_path / "line.mp3"
    with openai_client.audio.speech.with_streaming_response.create(
        model="embedded", voice="heart", input=LINE
    ) as answer:
        answer.stream_to_file(path)
    with path.open("rb") as file:
        told = openai_client.audio.transcriptions.create(model="default", file=file, language="en")
    assert "grass is green" in told.text


def test_speech_comes_while_it_is_made(openai_url):
    """The first clause is there long before the last is made."""

    async def times():
        loop = asyncio.get_running_loop()
        async with openai.AsyncOpenAI(base_url=openai_url, api_key="none") as client:
            began, came = loop.time(), []
            async with client.audio.speech.with_streaming_response.create(
                model="default", voice="default", input=LINE * 20, response_format="pcm"
            ) as answer:
                async for piece in answer.iter_bytes():
                    came.append((loop.time() - began, len(piece)))
            return came

    came = asyncio.run(times())
    assert len(came) > 10
    assert came[0][0] < came[-1][0] / 3


def test_events(openai_client, plain):
    stream = openai_client.audio.speech.with_streaming_response.create(
        model="default",
        voice="default",
        input=LINE,
        response_format="pcm",
        stream_format="sse",
        extra_body={"seed": 1},
    )
    events = []
    with stream as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data: "):
                events.append(json.loads(line[6:]))
    *deltas, done = events
    assert {event["type"] for event in deltas} == {"speech.audio.delta"}
    assert done["type"] == "speech.audio.done" and "total_tokens" in done["usage"]
    content = b"".join(base64.b64decode(event["audio"]) for event in deltas)
    assert np.array_equal(np.frombuffer(content, "<i2"), plain)


@pytest.mark.parametrize("speed", [0.25, 2.0])
def test_speed(openai_client, plain, speed):
    """Twice as fast is half as long, and as high as before."""
    answer = speak(openai_client, response_format="pcm", speed=speed, extra_body={"seed": 1})
    fast = np.frombuffer(answer.content, "<i2")
    assert len(fast) * speed == pytest.approx(len(plain), rel=0.05)
    assert centre(fast) == pytest.approx(centre(plain), rel=0.15)


def centre(samples):
    """The spectral centroid, Hz."""
    power = np.abs(np.fft.rfft(samples.astype(float))) ** 2
    return (np.fft.rfftfreq(len(samples), 1 / 24_000) * power).sum() / power.sum()


def test_a_voice_of_the_library_says_so(openai_client, tmp_path):
    for kind in ("wav", "mp3"):
        path = tmp_path / f"pip.{kind}"
        answer = speak(openai_client, "Good morning.", voice={"id": "Pip"}, response_format=kind)
        path.write_bytes(answer.content)
        assert read_mark(path).voice == "Pip"
        assert read_mark(path).use == "match"


@pytest.mark.parametrize(
    ("options", "status", "param", "message"),
    [
        ({"model": "tts-9"}, 404, "model", "no model 'tts-9'"),
        ({"voice": "nobody"}, 400, "voice", "no voice 'nobody'"),
        ({"text": ""}, 400, "input", "no text"),
        ({"text": "😀"}, 400, "input", "nothing in this text"),
        ({"text": "x" * 100_001}, 400, "input", "100,001 characters"),
        ({"speed": 9}, 400, "speed", "4"),
        ({"response_format": "midi"}, 400, "response_format", "mp3"),
        ({"instructions": "Whisper!"}, 400, "instructions", "in one manner"),
        ({"extra_body": {"seed": -1}}, 400, "seed", "0"),
        ({"extra_body": {"input": 5}}, 400, "input", "string"),
        ({"extra_body": {"volume": 5}}, 400, "volume", "not served"),
    ],
)
def test_bad_input_is_told(openai_client, options, status, param, message):
    with pytest.raises(openai.APIStatusError) as caught:
        speak(openai_client, **options)
    assert caught.value.status_code == status
    assert caught.value.param == param
    assert message in caught.value.message
    assert caught.value.request_id.startswith("req_")


@pytest.mark.parametrize(
    ("body", "message"), [("{", "no JSON"), ("[]", "no object"), ("[" * 100_000, "no JSON")]
)
def test_a_body_that_is_none_is_told(openai_url, body, message):
    answer = httpx.post(f"{openai_url}/audio/speech", content=body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]
